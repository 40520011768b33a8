"""`python -m cstar_mock` is the console script `cstar-mock`."""

from cstar_mock.cli import main

if __name__ == "__main__":
    main()
