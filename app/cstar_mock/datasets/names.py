"""Names for made-up people.

A fixed list, and not a library of fake names: those change their output from release to release, and the same
seed must give the same rows every time.
"""

_FIRST = (
    "Ada", "Amir", "Anika", "Ben", "Bjørn", "Carla", "Chen", "Dana", "Diego", "Elif", "Emma", "Farid",
    "Fatou", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jane", "Jonas", "Kai", "Kofi", "Lea", "Liam",
    "Lucía", "Mei", "Milan", "Nadia", "Noah", "Olga", "Omar", "Priya", "Quinn", "Rosa", "Ravi", "Sara",
    "Sven", "Tala", "Tom", "Uma", "Vera", "Wei", "Yara", "Yusuf", "Zoë", "Zora",
)  # fmt: skip
_LAST = (
    "Adeyemi", "Almeida", "Andersson", "Bauer", "Bianchi", "Brown", "Chandra", "Costa", "Dubois", "Eriksen",
    "Fischer", "Garcia", "Haddad", "Hansen", "Ito", "Jansen", "Kaya", "Kim", "Kowalski", "Lopez", "Martin",
    "Mbeki", "Moreau", "Nakamura", "Novak", "O'Brien", "Okafor", "Patel", "Petrov", "Rossi", "Schmidt",
    "Silva", "Singh", "Smith", "Suzuki", "Tanaka", "Torres", "Weber", "Yilmaz",
)  # fmt: skip


def person(number: int) -> str:
    """Return the n-th name; the first 1,794 differ."""
    return f"{_FIRST[number % len(_FIRST)]} {_LAST[number % len(_LAST)]}"
