"""The words and commands that the parser knows."""

from __future__ import annotations

FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch", "arcsin",
    "arccos", "arctan",
    "arccot", "arcsec", "arccsc", "arsinh", "arcosh", "artanh", "ln", "log", "exp", "arg", "det", "gcd",
    "lcm", "max",
    "min", "sgn", "Re", "Im", "deg", "dim", "ker", "tr", "Tr", "Var", "cis", "sup", "inf", "rank", "sqrt", "abs",
}  # fmt: skip
INVERSE = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "sen": "sin", "tg": "tan", "ctg": "cot",
            "arctg": "arctan",
            "sign": "sgn", "arcsinh": "arsinh", "arccosh": "arcosh", "arctanh": "artanh"}  # fmt: skip
CALLED = {"abs": "abs", "floor": "floor", "ceil": "ceil", "ceiling": "ceil", "cbrt": "root", "norm": "norm"}
"""Words that are functions where a parenthesis follows."""
NAMES = {"pi": "\\pi", "infinity": "\\infty", "inf": "\\infty", "infty": "\\infty", "oo": "\\infty",
          "theta": "\\theta",
          "alpha": "\\alpha", "beta": "\\beta", "gamma": "\\gamma", "lambda": "\\lambda", "phi": "\\phi",
          "omega": "\\omega",
          "delta": "\\delta", "epsilon": "\\epsilon", "sigma": "\\sigma", "mu": "\\mu", "rho": "\\rho",
          "tau": "\\tau"}  # fmt: skip
GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "pi",
    "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda",
    "Xi", "Pi", "Sigma",
    "Phi", "Psi", "Omega", "infty", "hbar", "ell", "emptyset", "partial", "nabla", "Re", "Im", "imath",
    "jmath", "aleph",
    "mho", "vartheta", "varrho", "varsigma", "blacksquare", "top", "bot", "prime", "ldots",
}  # fmt: skip
ACCENTS = {"hat", "bar", "vec", "tilde", "dot", "ddot", "widehat", "widetilde", "overrightarrow",
            "overleftarrow", "underline",
            "overline", "wideparen", "overparen", "overset"}  # fmt: skip
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "\\le": "<=", "\\ge": ">=", "\\ne": "!=", "\\approx": "~", "\\in": "in",
    "\\notin": "notin",
    "\\equiv": "==", "\\cong": "cong", "\\sim": "sim", "\\subset": "subset", "\\subseteq": "subseteq",
    "\\to": "to",
    "\\parallel": "parallel", "\\perp": "perp", "\\propto": "propto", "\\simeq": "~", "\\doteq": "~",
    "\\ll": "<<", "\\gg": ">>",
    "\\mid": "mid", "\\Rightarrow": "implies", "\\rightarrow": "to", "\\mapsto": "to", "\\coloneqq": "=",
}  # fmt: skip
SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
"""Words behind a number that multiply it."""
CURRENCY_NAMES = {
    "USD": "dollar", "EUR": "euro", "GBP": "pound sterling", "CNY": "yuan", "RMB": "yuan", "Rs": "rupee",
    "INR": "rupee", "JPY": "yen",
}  # fmt: skip
"""Words before a number that are its currency."""
BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
         "twelve": 12, "sixteen": 16}  # fmt: skip
CURRENCIES = {
    "\\$": "dollar",
    "\\pounds": "pound sterling",
    "\\euro": "euro",
    "\\yen": "yen",
    "\\rupee": "rupee",
}
PREFIXED = {"\\angle", "\\triangle", "\\Delta", "\\partial", "\\nabla"}
CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}",), "\\langle": ("\\rangle",)}
SEPARATORS = {
    "and": "and",
    "or": "or",
    "&": "and",
    "und": "and",
    "et": "and",
    "ou": "or",
    "oder": "or",
}
USUAL_FUNCTIONS = {
    "f",
    "g",
    "h",
    "F",
    "G",
    "\\Phi",
    "\\phi",
    "\\psi",
    "\\Gamma",
    "\\zeta",
    "\\mho",
    "\\sigma",
}
STOP_WORDS = {
    "if", "when", "where", "for", "with", "is", "are", "not", "or", "and", "but", "otherwise", "no",
    "none", "all", "such", "so",
    "because", "since", "then", "cost", "costs", "line", "lines", "mine", "sink", "logs",
    "which", "that", "does", "do", "neither", "nor", "maybe", "perhaps",
    "except", "only", "unless", "to", "from", "some", "once",
    "divided", "multiplied", "increased", "decreased", "reduced",
    "squared", "cubed", "factorial", "root", "half", "twice", "thrice", "multiple", "factor", "negative", "wrong",
    "incorrect", "correct", "rejected", "extraneous", "invalid", "impossible", "false", "true", "percent of",
    "at", "plus", "minus", "times", "more", "less", "least", "most", "than", "both", "either", "cannot", "never",
}  # fmt: skip
ENGLISH = frozenset(
    [
        "all",
        "any",
        "are",
        "but",
        "can",
        "did",
        "few",
        "for",
        "get",
        "got",
        "had",
        "has",
        "he",
        "her",
        "his",
        "how",
        "if",
        "is",
        "it",
        "its",
        "let",
        "no",
        "non",
        "nor",
        "not",
        "now",
        "of",
        "one",
        "our",
        "out",
        "say",
        "see",
        "set",
        "six",
        "so",
        "sum",
        "ten",
        "the",
        "to",
        "two",
        "via",
        "was",
        "we",
        "who",
        "yes",
        "you",
    ]
)
"""Short words that are no products of variables ("ax + by" is one)."""
