"""Twenty-four small Python programs with a hole each, what filled it, and what the program must do. Plain data.

Written for the gate's third step and found nowhere else, so that no model has seen them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    path: str
    prefix: str
    answer: str
    """What stood in the hole: one way to be right."""
    suffix: str
    check: str
    """Asserts that are run after the program."""

    def program(self, completion: str) -> str:
        return f"{self.prefix}{completion}{self.suffix}\n\n{self.check}\n"


def _task(path: str, code: str, check: str) -> Task:
    """code: the program, the hole's text between ⟨ and ⟩."""
    prefix, rest = code.split("⟨")
    answer, suffix = rest.split("⟩")
    return Task(path.rpartition("/")[2].removesuffix(".py"), path, prefix, answer, suffix, check)


TASKS = (
    _task(
        "garden/watering.py",
        '''def litres_needed(beds):
    """Total litres for beds given as (area, litres per square metre)."""
    total = 0.0
    for area, rate in beds:
        ⟨total += area * rate⟩
    return total
''',
        "assert litres_needed([(2, 3), (4, 0.5)]) == 8\nassert litres_needed([]) == 0",
    ),
    _task(
        "trains/platform.py",
        '''def next_departure(times, now):
    """The earliest time in `times` that is not before `now`; None if there is none."""
    later = [time for time in times if ⟨time >= now⟩]
    return min(later, default=None)
''',
        "assert next_departure([3, 9, 5], 4) == 5\nassert next_departure([3], 3) == 3\nassert next_departure([1], 2) is None",
    ),
    _task(
        "kitchen/units.py",
        """GRAMS_PER_OUNCE = 28.35


def ounces_to_grams(ounces):
    return ounces * GRAMS_PER_OUNCE


def grams_to_ounces(grams):
    return ⟨grams / GRAMS_PER_OUNCE⟩
""",
        "assert abs(grams_to_ounces(ounces_to_grams(7)) - 7) < 1e-9\nassert grams_to_ounces(56.7) == 2",
    ),
    _task(
        "library/loans.py",
        '''class Shelf:
    def __init__(self):
        self.books = {}

    def add(self, title, copies=1):
        self.books[title] = self.books.get(title, 0) + copies

    def lend(self, title):
        """Take one copy away. False if there is none left."""
        if self.books.get(title, 0) == 0:
            ⟨return False⟩
        self.books[title] -= 1
        return True
''',
        "s = Shelf()\ns.add('a')\nassert s.lend('a') is True and s.lend('a') is False and s.lend('b') is False",
    ),
    _task(
        "weather/extremes.py",
        '''def warmest_day(readings):
    """The day with the highest temperature; readings map a day to degrees."""
    return max(readings, key=⟨readings.get⟩)


def coldest_day(readings):
    return min(readings, key=lambda day: readings[day])
''',
        "assert warmest_day({'mon': 3, 'tue': 9, 'wed': 1}) == 'tue'\nassert coldest_day({'mon': 3, 'wed': 1}) == 'wed'",
    ),
    _task(
        "chess/squares.py",
        '''def square_name(column, row):
    """Columns and rows count from 0: (0, 0) is "a1"."""
    return "abcdefgh"[column] + ⟨str(row + 1)⟩


def is_on_board(column, row):
    return 0 <= column < 8 and 0 <= row < 8
''',
        "assert square_name(0, 0) == 'a1' and square_name(4, 3) == 'e4'\nassert is_on_board(7, 7) and not is_on_board(8, 0)",
    ),
    _task(
        "music/playlist.py",
        '''def total_minutes(songs):
    """Songs are dicts with "title" and "seconds"."""
    seconds = sum(⟨song["seconds"] for song in songs⟩)
    return seconds / 60
''',
        "assert total_minutes([{'title': 'a', 'seconds': 90}, {'title': 'b', 'seconds': 30}]) == 2",
    ),
    _task(
        "parcels/tracking.py",
        '''def group_by_city(parcels):
    """Map each city to the list of ids of the parcels that go there; parcels are (id, city)."""
    cities = {}
    for parcel_id, city in parcels:
        ⟨cities.setdefault(city, []).append(parcel_id)⟩
    return cities
''',
        "assert group_by_city([(1, 'x'), (2, 'y'), (3, 'x')]) == {'x': [1, 3], 'y': [2]}",
    ),
    _task(
        "text/slug.py",
        '''import re


def slugify(title):
    """Lower case, runs of anything but letters and digits become one hyphen, none at the ends."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower())
    return ⟨slug.strip("-")⟩
''',
        "assert slugify('  Hello, World! ') == 'hello-world'\nassert slugify('A1') == 'a1'",
    ),
    _task(
        "queues/tickets.py",
        '''from collections import deque


class TicketQueue:
    def __init__(self):
        self._waiting = deque()

    def join(self, name):
        self._waiting.append(name)

    def call_next(self):
        """Remove and return whoever has waited longest; None if nobody waits."""
        if not self._waiting:
            return None
        ⟨return self._waiting.popleft()⟩
''',
        "q = TicketQueue()\nq.join('a')\nq.join('b')\nassert [q.call_next() for _ in range(3)] == ['a', 'b', None]",
    ),
    _task(
        "grid/neighbours.py",
        '''def neighbours(x, y, width, height):
    """The cells left, right, above and below that lie inside the grid."""
    found = []
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        nx, ny = ⟨x + dx, y + dy⟩
        if 0 <= nx < width and 0 <= ny < height:
            found.append((nx, ny))
    return found
''',
        "assert sorted(neighbours(0, 0, 2, 2)) == [(0, 1), (1, 0)]\nassert len(neighbours(1, 1, 3, 3)) == 4",
    ),
    _task(
        "bank/interest.py",
        '''def balance_after(amount, rate, years):
    """Compound interest, paid once a year; rate is in percent."""
    for _ in range(years):
        ⟨amount *= 1 + rate / 100⟩
    return amount
''',
        "assert abs(balance_after(100, 10, 2) - 121) < 1e-9\nassert balance_after(50, 3, 0) == 50",
    ),
    _task(
        "votes/tally.py",
        '''from collections import Counter


def winner(ballots):
    """The name on most ballots; None if there are no ballots."""
    if not ballots:
        return None
    counts = Counter(ballots)
    name, _ = ⟨counts.most_common(1)[0]⟩
    return name
''',
        "assert winner(['a', 'b', 'b']) == 'b'\nassert winner([]) is None",
    ),
    _task(
        "clock/durations.py",
        '''def format_duration(seconds):
    """Minutes and seconds, as in "3:07"."""
    minutes, rest = ⟨divmod(seconds, 60)⟩
    return f"{minutes}:{rest:02d}"
''',
        "assert format_duration(187) == '3:07'\nassert format_duration(60) == '1:00'",
    ),
    _task(
        "hotel/rooms.py",
        '''from dataclasses import dataclass


@dataclass
class Stay:
    arrival: int
    departure: int

    @property
    def nights(self):
        """How many nights are paid for."""
        return ⟨self.departure - self.arrival⟩

    def overlaps(self, other):
        return self.arrival < other.departure and other.arrival < self.departure
''',
        "assert Stay(3, 7).nights == 4\nassert Stay(1, 3).overlaps(Stay(2, 4)) and not Stay(1, 3).overlaps(Stay(3, 4))",
    ),
    _task(
        "codes/caesar.py",
        '''def shift_letter(letter, by):
    """Shift one lower-case letter along the alphabet, round its end."""
    return chr((ord(letter) - ord("a") + by) % 26 + ord("a"))


def encrypt(word, by):
    return "".join(⟨shift_letter(letter, by) for letter in word⟩)
''',
        "assert encrypt('xyz', 3) == 'abc'\nassert encrypt('', 3) == ''",
    ),
    _task(
        "shapes/areas.py",
        """import math


class Circle:
    def __init__(self, radius):
        self.radius = radius

    def area(self):
        return ⟨math.pi * self.radius ** 2⟩

    def circumference(self):
        return 2 * math.pi * self.radius
""",
        "assert abs(Circle(2).area() - 12.566370614359172) < 1e-9\nassert Circle(0).circumference() == 0",
    ),
    _task(
        "lists/windows.py",
        '''def moving_average(values, size):
    """Mean of each run of `size` neighbouring values."""
    means = []
    for start in range(len(values) - size + 1):
        window = ⟨values[start:start + size]⟩
        means.append(sum(window) / size)
    return means
''',
        "assert moving_average([1, 2, 3, 4], 2) == [1.5, 2.5, 3.5]\nassert moving_average([1], 2) == []",
    ),
    _task(
        "config/merge.py",
        '''def merged(defaults, overrides):
    """A new dict: the defaults, replaced by the overrides that are not None."""
    result = dict(defaults)
    for key, value in overrides.items():
        if ⟨value is not None⟩:
            result[key] = value
    return result
''',
        "assert merged({'a': 1, 'b': 2}, {'a': 3, 'b': None, 'c': 0}) == {'a': 3, 'b': 2, 'c': 0}",
    ),
    _task(
        "tree/depth.py",
        '''class Node:
    def __init__(self, children=()):
        self.children = list(children)

    def depth(self):
        """1 for a leaf; else one more than the deepest child."""
        if not self.children:
            return 1
        return 1 + ⟨max(child.depth() for child in self.children)⟩
''',
        "assert Node().depth() == 1\nassert Node([Node(), Node([Node()])]).depth() == 3",
    ),
    _task(
        "files/extension.py",
        '''def extension(name):
    """The part after the last dot, in lower case; "" if there is no dot."""
    if "." not in name:
        return ""
    ⟨return name.rsplit(".", 1)[1].lower()⟩
''',
        "assert extension('a.tar.GZ') == 'gz'\nassert extension('Makefile') == ''",
    ),
    _task(
        "numbers/digits.py",
        '''def digit_sum(number):
    """Sum of the decimal digits of a number that is not negative."""
    total = 0
    while number > 0:
        total += number % 10
        ⟨number //= 10⟩
    return total
''',
        "assert digit_sum(1234) == 10\nassert digit_sum(0) == 0",
    ),
    _task(
        "sensors/clean.py",
        '''def clamp(value, low, high):
    """The value itself if it lies between low and high, else the nearer of the two."""
    return ⟨max(low, min(value, high))⟩


def clean(values, low=0, high=100):
    return [clamp(value, low, high) for value in values]
''',
        "assert clean([-5, 50, 120]) == [0, 50, 100]\nassert clamp(3, 4, 9) == 4",
    ),
    _task(
        "errors/retry.py",
        '''def retry(action, attempts):
    """Call `action` until it does not raise ValueError; after the last attempt the error is raised."""
    for attempt in range(attempts):
        try:
            ⟨return action()⟩
        except ValueError:
            if attempt == attempts - 1:
                raise
''',
        """calls = []


def flaky():
    calls.append(1)
    if len(calls) < 3:
        raise ValueError
    return "done"


assert retry(flaky, 5) == "done" and len(calls) == 3""",
    ),
)
