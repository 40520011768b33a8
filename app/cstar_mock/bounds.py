"""Every bound on input and on memory, in one place.

SECURITY.md has a row for each, with the result beyond the bound and the test that proves it. A bound that is an option
of the server, such as `--max-connections`, is in `settings.py`.

Modules read a bound as `bounds.NAME` where they use it, so that a test can lower it.
"""

# Requests

LONGEST_TARGET = 8 * 1024
"""Bytes of a request target: path and query together."""

LONGEST_HEAD = 32 * 1024
"""Bytes of a request line and its headers together."""

MOST_HEADERS = 100
"""Headers of a request."""

LONGEST_BODY = 64 * 1024
"""Bytes of a request body outside the control API, which reads none."""

LONGEST_CONTROL_BODY = 4 * 1024 * 1024
"""Bytes of a request body of the control API: 10,000 rows of 400 bytes. Parsing it holds the event loop."""

MOST_BODY_VALUES = 100_000
"""Objects and fields of a request body of the control API: 10,000 tickets with all their fields have 80,000."""

MOST_PROBLEMS = 100
"""Problems that the answer to an invalid request lists; the first is its `detail`."""

LEAST_BODY_RATE = 16 * 1024
"""Bytes a second at which a body has to come on average, after the first 20 seconds."""

SPARE_CONNECTIONS = 100
"""Connections beyond `--max-connections` that get a 503 at the same time; any further one is closed without a word."""

# Caches

KNOWN_REQUEST_BYTES = 16 * 1024 * 1024
"""Bytes of memory for requests that are recognised without parsing, in each worker."""

LONGEST_KNOWN_REQUEST = 2 * 1024
"""Bytes of such a request."""

CACHED_ANSWER_BYTES = 64 * 1024 * 1024
"""Bytes of memory for answers that are given again while they hold, in each worker."""

CACHED_CALLER_BYTES = 32 * 1024 * 1024
"""Bytes of memory for callers, by the digests of their keys, with their fault rules, in each worker."""

CACHED_RULE_BYTES = 32 * 1024 * 1024
"""Bytes of memory for parsed fault rules, in each worker."""

MOST_LOCKOUT_ADDRESSES = 10_000
"""Addresses, and accepted secrets, in the protection against guessing; the oldest goes first."""

LONGEST_ADDRESS = 64
"""Characters of a client's IP address, with the zone of an IPv6 address."""

MOST_WINDOWS = 100_000
"""Rate-limit counters of keys and of guessing addresses in the memory of a process; ended ones go first, then those
that end first."""

MOST_FAULT_COUNTS = 100_000
"""Counts of fault rules of all teams in the memory of a process; the team whose rules acted longest ago loses its
counts first."""

LOCKOUT_QUEUE_SECONDS = 5.0
"""Seconds that a secret waits for its turn, while others of the same address are tested against guessing."""

MOST_METRIC_LABELS = 2_000
"""Combinations of labels in the metrics; further ones are counted as `other`."""

MOST_METRIC_TEAMS = 100
"""Teams with their own label in the metrics; further ones are counted as `other`."""

# Journal

MOST_JOURNAL_TEAMS = 1_000
"""Journals in the memory of a process; the one with the oldest last entry goes first."""

MOST_JOURNAL_ENTRIES = 50_000
"""Entries of all journals in the memory of a process; the journal with the oldest last entry loses its first ones."""

MOST_JOURNAL_HEADERS = 30
"""Headers of a request in its journal entry; the rest is left out."""

LONGEST_JOURNAL_NAME = 100
"""Bytes of a header's name in a journal entry; the rest is cut off."""

LONGEST_JOURNAL_VALUE = 200
"""Bytes of a header's value in a journal entry; the rest is cut off."""

LONGEST_JOURNAL_PATH = 500
"""Characters of a path or query in a journal entry and in the log; the rest is cut off."""

JOURNAL_HEADERS_BYTES = 4 * 1024
"""Characters of all headers in a journal entry together; the first header that exceeds it and all further ones are
left out."""

JOURNAL_BYTES = 128 * 1024 * 1024
"""Bytes of all journals together, in the memory of a process or in the Valkey; the journal with the oldest last entry
loses its first ones."""

MOST_CACHED_HEADERS = 1_024
"""Headers, as they are shown in journal entries, that are cached; each is as long as an entry allows."""

# Fault rules

MOST_FAULT_RULES = 100
"""Fault rules of a team."""

FAULT_RULES_BYTES = 256 * 1024
"""Bytes of all fault rules of a team, as JSON."""

LONGEST_FAULT_BODY = 64 * 1024
"""Bytes of the body that a fault rule answers with, as JSON."""

LONGEST_DELAY_MS = 60_000
"""Milliseconds that a fault rule or `Prefer: wait` can delay an answer."""

# Rows and data sets

MOST_ROWS_IN_REQUEST = 10_000
"""Rows in one request of the control API."""

MOST_RECIPE_ROWS = 10_000_000
"""Rows of one kind in a recipe, which are inserted while they are generated."""

MOST_RECIPE_ROWS_IN_REQUEST = 100_000
"""Members, customers and tickets of all recipes in one request of the control API."""

MOST_AGENTS = 5_000
"""Agents in an answer that rows are constructed for."""

MOST_FIGURE = 100_000
"""The largest figure that rows are constructed for: all of them are in memory at once."""

MOST_EXPLAINED_IDS = 10_000
"""Ids of rows in the explanation of a figure."""

MOST_EXPLAINED_AGENTS = 1_000
"""Agents in an explanation."""

MOST_EXPLAINED_AGENT_IDS = 100_000
"""Ids of rows in an explanation of several agents; the first agent is always listed."""

LARGEST_INTEGER = 2**53
"""The largest whole number in a count that has no smaller bound; JavaScript has no larger exact ones."""

LONGEST_TIME = 100
"""Characters of an instant, a relative time or a length of time."""

EARLIEST_CLOCK_YEAR = 100
"""First year that a team's clock can show: periods, recipes and answers reach back from it."""

LATEST_CLOCK_YEAR = 9_899
"""Last year that a team's clock, or real time plus its advances, can show: windows and rules reach ahead of it."""

LARGEST_RATE_LIMIT = 1_000_000_000
"""Requests in a rate-limit window."""

LONGEST_RESPONSE_MINUTES = 5_000_000
"""Minutes from a ticket's creation to its first response, in an answer that rows are constructed for."""

LARGEST_SEED = 2**53
"""The seed of a recipe; JavaScript has no larger whole numbers."""

LONGEST_RECIPE_DAYS = 3_653
"""Days from the first to the last row of a recipe."""

DEEPEST_YAML = 100
"""Levels of nesting in a data set file."""

LONGEST_YAML_NUMBER = 1_000
"""Characters of a number in a data set file."""

MOST_YAML_NODES = 20_000_000
"""Values in a data set file, each alias counted with all that it repeats."""

# Log

LOG_BUFFER_BYTES = 1024 * 1024
"""Bytes of log entries that wait to be written; further entries are dropped and counted."""

LOG_EXIT_SECONDS = 1.0
"""Seconds that the end of the process waits for entries that cannot be written yet."""
