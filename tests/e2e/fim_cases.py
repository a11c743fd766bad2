"""Twelve functions with a hole each, and what the filled function must do. Generated code runs in a process with tight limits."""

import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5
MEMORY = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    path: str
    prefix: str
    suffix: str
    check: str
    """Asserts that are run after the file."""


def judge(case: Case, completion: str) -> bool:
    """Whether the file with this completion does what it should."""
    program = f"{case.prefix}{completion}{case.suffix}\n\n{case.check}\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.py"
        file.write_text(program, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(file)],
                cwd=folder,
                env={},
                timeout=SECONDS + 5,
                capture_output=True,
                preexec_fn=_limit,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def _case(name: str, path: str, code: str, check: str) -> Case:
    """code: the file, with ⟨⟩ where the hole is."""
    prefix, suffix = code.split("⟨⟩")
    return Case(name, path, prefix, suffix, check)


CASES = (
    _case(
        "sum of squares",
        "stats/sums.py",
        '''\
"""Sums over sequences of numbers."""


def sum_of_squares(values):
    """Return the sum of the squares of the values."""
    total = 0
    for value in values:
        ⟨⟩
    return total


def mean(values):
    """Return the arithmetic mean; 0 for no values."""
    if not values:
        return 0
    return sum(values) / len(values)
''',
        "assert sum_of_squares([1, 2, 3]) == 14\nassert sum_of_squares([]) == 0\nassert mean([1, 3]) == 2",
    ),
    _case(
        "palindrome",
        "text/words.py",
        '''\
def normalise(text):
    """Lower-case letters and digits only."""
    return "".join(char for char in text.lower() if char.isalnum())


def is_palindrome(text):
    """True if the text reads the same in both directions, ignoring case and punctuation."""
    cleaned = normalise(text)
    return ⟨⟩


def count_words(text):
    return len(text.split())
''',
        'assert is_palindrome("A man, a plan, a canal: Panama")\nassert not is_palindrome("abc")\nassert count_words("a b") == 2',
    ),
    _case(
        "stack pop",
        "structures/stack.py",
        '''\
class Stack:
    """A last-in, first-out container."""

    def __init__(self):
        self._items = []

    def push(self, item):
        self._items.append(item)

    def pop(self):
        """Remove and return the top item. Raises IndexError if the stack is empty."""
        ⟨⟩

    def peek(self):
        return self._items[-1]

    def __len__(self):
        return len(self._items)
''',
        "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2 and len(s) == 1\nassert s.peek() == 1\ns.pop()\n"
        "try:\n    s.pop()\nexcept IndexError:\n    pass\nelse:\n    raise AssertionError",
    ),
    _case(
        "call arguments",
        "geometry/points.py",
        '''\
import math


def distance(x1, y1, x2, y2):
    """Euclidean distance between two points."""
    return math.hypot(x2 - x1, y2 - y1)


def perimeter(a, b, c):
    """Perimeter of the triangle with corners a, b and c, each a pair (x, y)."""
    ab = distance(a[0], a[1], b[0], b[1])
    bc = distance(⟨⟩)
    ca = distance(c[0], c[1], a[0], a[1])
    return ab + bc + ca
''',
        "assert perimeter((0, 0), (3, 0), (3, 4)) == 12",
    ),
    _case(
        "gcd loop",
        "numbers/divisors.py",
        '''\
def gcd(a, b):
    """Greatest common divisor by Euclid's algorithm."""
    while b:
        ⟨⟩
    return a


def lcm(a, b):
    """Least common multiple."""
    return a // gcd(a, b) * b
''',
        "assert gcd(12, 18) == 6\nassert gcd(7, 5) == 1\nassert lcm(4, 6) == 12",
    ),
    _case(
        "word counts",
        "text/counts.py",
        '''\
def word_counts(text):
    """Map each lower-case word to how often it occurs."""
    counts = {}
    for word in text.lower().split():
        ⟨⟩
    return counts


def most_common(text):
    counts = word_counts(text)
    return max(counts, key=counts.get)
''',
        'assert word_counts("a B b") == {"a": 1, "b": 2}\nassert most_common("x y y") == "y"',
    ),
    _case(
        "early return",
        "config/parse.py",
        '''\
def parse_bool(text):
    """Turn "yes", "true", "on" or "1" into True and "no", "false", "off" or "0" into False; anything else is a ValueError."""
    lowered = text.strip().lower()
    if lowered in ("yes", "true", "on", "1"):
        return True
    ⟨⟩
    raise ValueError(f"not a boolean: {text!r}")
''',
        'assert parse_bool(" Yes ") is True\nassert parse_bool("off") is False\n'
        'try:\n    parse_bool("maybe")\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError',
    ),
    _case(
        "comprehension condition",
        "numbers/primes.py",
        '''\
def is_prime(n):
    """True if n is a prime number."""
    if n < 2:
        return False
    return all(n % divisor for divisor in range(2, int(n**0.5) + 1))


def primes_below(limit):
    """All primes smaller than limit, in order."""
    return [n for n in range(limit) if ⟨⟩]
''',
        "assert primes_below(12) == [2, 3, 5, 7, 11]",
    ),
    _case(
        "dataclass property",
        "shop/cart.py",
        '''\
from dataclasses import dataclass, field


@dataclass
class Item:
    name: str
    price: float
    quantity: int = 1


@dataclass
class Cart:
    items: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> None:
        self.items.append(item)

    @property
    def total(self) -> float:
        """Price of everything in the cart."""
        ⟨⟩

    def clear(self) -> None:
        self.items = []
''',
        'c = Cart()\nc.add(Item("a", 2.0, 3))\nc.add(Item("b", 1.5))\nassert c.total == 7.5\nc.clear()\nassert c.total == 0',
    ),
    _case(
        "binary search",
        "search/binary.py",
        '''\
def binary_search(values, wanted):
    """Index of `wanted` in the sorted list `values`, or -1."""
    low, high = 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        if values[middle] == wanted:
            return middle
        if values[middle] < wanted:
            ⟨⟩
        else:
            high = middle - 1
    return -1
''',
        "v = [1, 3, 5, 7, 9]\nassert [binary_search(v, x) for x in v] == [0, 1, 2, 3, 4]\nassert binary_search(v, 4) == -1",
    ),
    _case(
        "middle of an expression",
        "temperature/convert.py",
        """\
def celsius_to_fahrenheit(celsius):
    return celsius * 9 / 5 + 32


def fahrenheit_to_celsius(fahrenheit):
    return (⟨⟩) * 5 / 9


def kelvin_to_celsius(kelvin):
    return kelvin - 273.15
""",
        "assert fahrenheit_to_celsius(212) == 100\nassert fahrenheit_to_celsius(32) == 0",
    ),
    _case(
        "chunks",
        "lists/chunks.py",
        '''\
def chunks(values, size):
    """Yield successive slices of `values` with `size` elements each; the last may be shorter."""
    if size < 1:
        raise ValueError("size must be positive")
    for start in range(0, len(values), size):
        ⟨⟩


def flatten(lists):
    """One list with the elements of all lists."""
    return [value for values in lists for value in values]
''',
        "assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]\nassert flatten([[1], [2]]) == [1, 2]",
    ),
)
