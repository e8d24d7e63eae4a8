"""Units: names to dimensions and factors, so that 100 cm is 1 m and 5 minutes are not 5 hours."""

from __future__ import annotations

import re
from fractions import Fraction

# name: (dimension, factor to the base unit). Prefixes are spelled out, so that no name means two things.
_LENGTH = "m 1 km 1000 cm 1/100 mm 1/1000 dm 1/10 nm 1/1000000000 in 127/5000 ft 381/1250"
_LENGTH += " yd 1143/1250 mi 201168/125"
_TIME = "s 1 min 60 h 3600 day 86400 week 604800 ms 1/1000"
_MASS = "g 1 kg 1000 mg 1/1000 t 1000000 lb 45359237/100000 oz 45359237/1600000"
_VOLUME = "L 1 mL 1/1000"
_OTHER = ("N", "J", "W", "V", "A", "Hz", "Pa", "K", "C", "F", "ohm", "mol", "eV", "T", "rad",
          "pound", "euro", "yuan", "yen", "acre", "hectare", "rupee", "ppm", "rpm", "cal",
          "unit")  # fmt: skip
UNITS: dict[str, tuple[str, Fraction]] = {name: (name, Fraction(1)) for name in _OTHER}
for _dimension, _table in (
    ("length", _LENGTH), ("time", _TIME), ("mass", _MASS), ("volume", _VOLUME), ("money", "dollar 1 cent 1/100"),
    ("calendar", "year 1 month 1/12"),
):  # fmt: skip
    _entries = _table.split()
    UNITS |= {n: (_dimension, Fraction(f)) for n, f in zip(_entries[::2], _entries[1::2], strict=True)}
_PREFIXES = (("k", Fraction(1000)), ("M", Fraction(10**6)), ("G", Fraction(10**9)), ("m", Fraction(1, 1000)))
UNITS |= {
    prefix + name: (name, factor)
    for name in ("N", "J", "W", "V", "A", "Hz", "Pa", "eV", "cal")
    for prefix, factor in _PREFIXES
}
_ALIASES = {
    "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km", "centimeter": "cm",
    "centimetre": "cm", "millimeter": "mm",
    "millimetre": "mm", "inch": "in", "inches": "in", "foot": "ft", "feet": "ft", "yard": "yd",
    "mile": "mi", "second": "s", "sec": "s",
    "minute": "min", "mins": "min", "hour": "h", "hr": "h", "hrs": "h", "gram": "g", "kilogram": "kg",
    "kgs": "kg", "milligram": "mg",
    "ton": "t", "tonne": "t", "lbs": "lb", "ounce": "oz", "liter": "L", "litre": "L", "milliliter": "mL",
    "millilitre": "mL",
    "ml": "mL", "l": "L", "newton": "N", "joule": "J", "watt": "W", "ampere": "A",
    "amp": "A", "volt": "V", "hertz": "Hz", "pascal": "Pa", "ohms": "ohm", "calorie": "cal",
    "kelvin": "K",
    "celsius": "C", "fahrenheit": "F",
    "degree": "deg", "radian": "rad", "dollars": "dollar", "cents": "cent", "usd": "dollar",
    "euros": "euro", "units": "unit",
    "eur": "euro", "gbp": "pound sterling", "inr": "rupee", "cny": "yuan", "rmb": "yuan", "jpy": "yen",
    "cc": "mL", "yr": "year", "yrs": "year", "dy": "day", "miles": "mi", "metres": "m", "mph": "mi/h",
    "kmh": "km/h", "kph": "km/h",
    "pounds": "lb", "pound": "lb", "amps": "A", "kilojoule": "kJ", "kilowatt": "kW",
}  # fmt: skip
_POWER_WORDS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
# Short names that are letters of variables as well count as units only where the writer marked them as text.
RAW_UNITS = frozenset(
    {
        "cm",
        "mm",
        "km",
        "dm",
        "kg",
        "mg",
        "mL",
        "ml",
        "ft",
        "yd",
        "min",
        "sec",
        "hr",
        "hrs",
        "lb",
        "lbs",
        "oz",
        "mph",
        "Hz",
        "rad",
        "erg",
        "kPa",
        "kJ",
        "kW",
        "kN",
        "eV",
        "MeV",
        "GeV",
        "nm",
        "mol",
        "cc",
    }
    | {name for name in (*_ALIASES, *UNITS) if len(name) >= 3}
    | {"Pa"}
)

Unit = tuple[tuple[str, int], ...]


def singular(word: str) -> str:
    """A noun's dictionary form, as far as units need it."""
    if word in _ALIASES or word in UNITS:
        return word
    if word.endswith("s") and len(word) > 3 and not word.endswith("ss"):
        return word[:-1]
    return word


_FILLER = {"of", "a", "an", "the", "each", "in", "old", "ago", "long", "wide", "tall", "high", "away"}
_MEASURING = re.compile(
    r"(?i)(?:(?:square|cubic|sq|cu) )?(?:units?|[a-z]{1,3}|(?:centi|kilo|milli)?met(?:er|re)s?|inch(?:es)?|feet"
    r"|degrees?)(?:[\^ ]*[23])?"
)
_WORD = re.compile(r"[A-Za-z]+|[/^*-]|per\b|\d+|[^\sA-Za-z]")


def parse_unit(text: str) -> Unit | None:
    """Unit of a phrase such as "square inches", "m/s^2", "miles per hour"; None where it is not one.

    Unknown nouns ("apples") are units of their own. The result maps names to powers, sorted.
    """
    text = (
        text.replace("\\cdot", "*")
        .replace("\\", " ")
        .replace("{", " ")
        .replace("}", " ")
        .replace("~", " ")
        .replace(".", " ")
        .strip(" ,")
    )
    if not text:
        return ()
    if "(" in text:
        text = text.replace("(", "").replace(")", "").strip()
        if not _MEASURING.fullmatch(text):
            # "5 (rejected)"
            return None
    powers: dict[str, int] = {}
    sign = 1
    pending = 1
    previous: str | None = None
    tokens = _WORD.findall(text)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        lowered = token.lower()
        if token == "/" or lowered == "per":
            sign, previous = -1, None
        elif token in ("*", "-"):
            previous = None
        elif lowered in (
            "of",
            "a",
            "an",
            "the",
            "each",
            "in",
            "old",
            "ago",
            "long",
            "wide",
            "tall",
            "high",
            "away",
        ):
            if lowered == "in" and previous is None:
                powers["in"] = powers.get("in", 0) + sign * pending
                previous, pending = "in", 1
            continue
        elif lowered in ("squared", "cubed") and previous is not None:
            powers[previous] += sign * (_POWER_WORDS[lowered] - 1)
        elif lowered in ("squared", "cubed"):
            return None
        elif lowered in _POWER_WORDS and previous is None:
            pending = _POWER_WORDS[lowered]
        elif token == "^" and previous is not None and index < len(tokens):
            power = tokens[index]
            negative = power == "-" and index + 1 < len(tokens)
            if negative:
                index += 1
                power = tokens[index]
            if not power.isdigit() or len(power) > 2:
                return None
            index += 1
            powers[previous] += (-sign if negative else sign) * int(power) - sign
        elif token.isdigit() and previous is not None and len(token) == 1:
            powers[previous] += sign * (int(token) - 1)
        elif token.isalpha():
            name = (
                token
                if token in UNITS
                else _ALIASES.get(lowered, _ALIASES.get(singular(lowered), singular(lowered)))
            )
            if "/" in name:
                above, below = name.split("/")
                powers[above] = powers.get(above, 0) + sign
                powers[below] = powers.get(below, 0) - sign
                previous = below
                continue
            powers[name] = powers.get(name, 0) + sign * pending
            previous, pending = name, 1
        else:
            return None
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def convert(unit: Unit) -> tuple[tuple[tuple[str, int], ...], Fraction]:
    """Dimensions with powers, and the factor to base units."""
    factor = Fraction(1)
    dimensions: dict[str, int] = {}
    for name, power in unit:
        dimension, scale = UNITS.get(name, (name, Fraction(1)))
        if dimension == "volume":
            # A litre is a cubic decimetre.
            dimension, scale, factor = "length", Fraction(1), factor * (scale / 1000) ** power
            power *= 3
        factor *= scale**power
        dimensions[dimension] = dimensions.get(dimension, 0) + power
    return tuple(sorted((d, p) for d, p in dimensions.items() if p)), factor
