"""Clauses of prose: whether what is said of a value affirms it as the answer.

A value in prose counts only where its clause has one of a few affirmative shapes (an equation, a conclusion, "the
speed is 12", "there are 12", a label with a colon), and nothing in its sentence or behind it takes it back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEUTRAL_WORDS = """
so thus hence therefore then and the our my its this that final correct right desired required overall total
numerical exact simplified simplest best we i can conclude find get see have obtain which means it follows as a
an result finally now in conclusion think believe know am sure confident is here also consequently accordingly
ultimately summary to summarize summarise short other words e ie step solution answer be must only
why s all both two three four real complex distinct integer positive negative
donc alors ainsi par conséquent finalement la le l finale bonne correcte réponse
por lo tanto entonces luego en respuesta correcta así que
die der also ist daher somit folglich richtige endgültige antwort lautet
quindi pertanto dunque perciò o é portanto logo assim
итак таким образом поэтому следовательно значит окончательный правильный
"""
_NEUTRAL = frozenset(_NEUTRAL_WORDS.split())
# "The number of positive solutions is 4."
_MEASURED = frozenset({"number", "set", "sum", "product"})
_COUNTED = _MEASURED | {"of", "possible"}
_OPENING_WORDS = """
after by from based using with combining adding solving simplifying substituting multiplying dividing subtracting
counting computing calculating evaluating rounding putting plugging summing since because given thanks
"""
_OPENING = frozenset(_OPENING_WORDS.split())
_REPORTING = re.compile(
    r"(?i)\b(?:says?|said|claim\w*|thinks?|thought|believe[sd]?|guess\w*|answered|wrote|writes|suggest\w*|assum\w*"
    r"|suppos\w*|hypothe\w*|imagin\w*|pretend\w*|if|whether|unless|not|never|nobody|no one|doubt\w*"
    r"|den(?:y|ies|ied)|wrong\w*|incorrect\w*|mistake\w*|false\w*|fails?|reject\w*|impossible|tempt\w*|naive\w*"
    r"|might|could|would|may|maybe|perhaps|possibly|should)\b|n't\b"
)
_DENIAL_ELSEWHERE = re.compile(r"不|没|沒|非|若|如果|假设|假設|아니|ない|नहीं|ليس")
_WORD = re.compile(r"[^\W\d_]+")
_LEAD_START = re.compile(r"[.!?](?:\s|$)|[;:,，。：；！？\n]|[-–—]\s")
_LONGEST_LEAD = 160


def affirms(text: str, start: int) -> bool:
    """Whether what stands in the clause before "the answer is" makes it the writer's own, final statement.

    "So the final answer is" and "after simplifying, the answer is" do; "some say the answer is", "if the answer
    is" and "I doubt that the answer is" do not.
    """
    before = text[max(0, start - _LONGEST_LEAD) : start]
    cut = [found.end() for found in _LEAD_START.finditer(before)]
    lead = before[cut[-1] :] if cut else before
    if cut and before[: cut[-1]].endswith(":") and _QUOTING.search(before[: cut[-1]]):
        return False
    if not _REPORTING.search(lead) and (concluded := list(_SO.finditer(lead))):
        lead = lead[concluded[-1].end() :]
    words = [word.lower() for word in _WORD.findall(lead)]
    if any(not word.isascii() and _OTHER_SCRIPT.match(word) for word in words):
        return not _DENIAL_ELSEWHERE.search(lead)
    if all(word in _NEUTRAL for word in words):
        return True
    if _MEASURED & set(words) and all(word in _NEUTRAL | _COUNTED for word in words):
        return True
    return words[0] in _OPENING and not _REPORTING.search(lead)


_QUOTING = re.compile(r"(?i)\b(?:says?|said|claims?|claimed|thinks?|wrote|writes)\s*:$")
_SO = re.compile(r"(?i)\b(?:so|thus|hence|therefore|then)\b")
_OTHER_SCRIPT = re.compile(r"[\u0590-\u0dff\u2e80-\ud7af]")
_SENTENCE_START = re.compile(r"[.!?]\s|[。！？\n]")
_CLAUSE_START = re.compile(r"[;；]|,\s(?:but|so|thus|hence|therefore|then)\b|\b(?:but|however)\b")
_STOP = re.compile(r"[.!?][*_`]*(?:\s|$)|[。！？\n]")
_UNSOUND = re.compile(
    r"(?i)\b(?:wrong|incorrect|reject(?:ed|s)?|extraneous|contradicts?|contradiction|impossible|invalid|except"
    r"|depends on|(?:does|do)(?: not|n't) (?:work|satisfy|hold)|not (?:a|an|the) (?:solution|root|answer)"
    r"|too (?:small|large|big|few|many|high|low)|for example|for instance|such as|e\.g|not sure|unsure|maybe"
    r"|perhaps|guess\w*|(?:might|could|would|should|may) (?:\w+ )?(?:be|have|say|answer|give|equal)|unknown"
    r"|unclear|(?:lower|upper) bound|bounded|if|suppose|assum(?:e|ing)|imagine|pretend|let|say|says|said"
    r"|claims?|claimed|thinks?|thought|believes?|believed|trying|try|tempting|tempted|options?|choices?"
    r"|candidates?|possibilit(?:y|ies)|unless|whether|neither|nor|either|originally|initially"
    r"|naive|used to|at first|exclud\w*|discard\w*|rul(?:e[sd]?|ing) out|fails?|never|nobody|no one|distractor"
    r"|bound|cannot|recall|forg[eo]t\w*|ignor\w*|check|test"
    r"|examples?|attempts?|tried|rumou?red|friends?|classmates?|teachers?|textbooks?|false|(?:do|does|did) not"
    r"|but (?:we|i|you) (?:still )?(?:need|want|must|have to)|testing|tokens?|(?:is|are|was|were) given"
    r"|according to (?:the )?(?:forum|internet|book|web\w*|key|others?|some|my)"
    r"|no (?:solutions?|integers?|numbers?|values?|roots?|such)|confidence|elapsed)\b|n't\b|\bgiven [A-Za-z] ?="
    r"|\b(?:scores?|rewards?|grade|rating|given)\s*[:=]"
    r"|\b(?:for|when|with|where|such that|in case)\s+[A-Za-z]\s*(?:=|is|equals)[\s$]*$"
)
# "The teacher's answer was 5": what an answer is, only "the answer is" can say.
_OF_ANSWERS = re.compile(r"(?i)\banswers?\b(?!\s*:)")
_TAKEN_BACK = re.compile(
    r"(?i)\b(?:(?:this|that|which|it|the above)(?:'s| is| was)? (?:wrong|incorrect|false|impossible"
    r"|not (?:right|correct|true|possible|the answer))|(?:leads to|gives|is) a contradiction|contradiction"
    r"|just (?:kidding|a guess)|(?:cannot|can't) be determined|remains unknown)\b"
)
_CONCLUDES = re.compile(
    r"(?i)\b(?:so|thus|hence|therefore|consequently|finally|in total|altogether|overall|in all|conclude"
    r"|concluding|(?:we|i) (?:get|have|find|obtain|see)"
    r"|(?:this|that|which|it|\w+ing) (?:gives?|yields?)|giving|it follows|which means"
    r"|as a result|in conclusion|total|donc|alors|finalement|daher|somit|also|folglich|por lo tanto|entonces"
    r"|luego|portanto|logo|quindi|pertanto|dunque|итого|поэтому|итак|следовательно)\b|\\therefore|∴|⇒"
    r"|所以|因此|总共|一共|共|于是|故|よって|したがって|따라서|그러므로|इसलिए|अतः|إذن|لذلك"
)
# Verbs behind which a value is what a statement says.
_VERBS = """
is are was were be been equals? remains? becomes? costs? has have had gets? got earns? earned makes? made needs?
needed takes? took pays? paid spends? spent saves? saved sells? sold buys? bought eats? ate reads? uses? used
receives? received leaves? left contains? holds? weighs? measures? works? worked requires? produces? produced
raises? raised collects? collected travels? travel?led walks? walked runs? ran drives? drove
est sont co[uû]te reste ist sind kostet es son cuesta é è sono custa равно равен равна
"""
_VERBS_WITH_AT = """
arrives? arrived travel(?:s|l?ed|l?ing) driv(?:es|ing) drove mov(?:es|ed|ing) walk(?:s|ed|ing) run(?:s|ning) ran
fl(?:ies|ew|ying)
"""
_VERBS_WITH_TO = "comes? came amounts? amounted adds? rises? rose falls? fell drops? dropped grows? grew"
_NOUNS_WITH_OF = """
total sum average mean profit loss gain speed rate distance length height width depth area volume weight mass cost
price score income salary discount tip perimeter probability value balance surplus age capacity population
"""


def _any(words: str) -> str:
    return "(?:" + "|".join(words.split()) + ")"


_STATES = re.compile(
    rf"(?i)(?:[=≈:：]|\b(?:{_any(_VERBS)}|equal to|enough for|(?:it|there|that|here|what)'s"
    rf"|{_any(_VERBS_WITH_AT)} at|{_any(_VERBS_WITH_TO)} (?:up )?(?:to|by))|是|为|為|有|等于|得|剩|は|यह)"
    r"\s*(?:(?:now|only|just|about|approximately|exactly|roughly|around|actually|also|to) "
    r"|(?:him|her|them|us|me|you|it) "
    r"|at an? (?:\w+ )?(?:speed|rate|velocity|price|cost) of "
    rf"|an? (?:\w+ )?{_any(_NOUNS_WITH_OF)} of )*"
    r"[\s$(\\[£€¥]*$"
)
_OPENS = re.compile(r"[\s$(\\[£€¥*_`>-]*$")
_OUTPUT = re.compile(r"```output\s*$")
_JUST = re.compile(r"(?i)^\W*(?:just |only |about |approximately |exactly |roughly |around |it's )+[\s$£€]*$")

_VERB_NEXT = re.compile(
    r"(?i)[\s$]*(?:(?:is|are|was|were)\b(?! (?:the|our|my|correct|right|left|needed|required|remaining))"
    r"|(?:does|do|did|has|had|can|will|would"
    r"|leads?|works?|fails?|satisf\w+|gives?|divides?)\b)"
)
_COMPARED = re.compile(r"(?i)\b(?:more|fewer|less|greater|larger|smaller|higher|lower|older|younger) than\b")
_CLOCK = re.compile(r"\d:\d\d")
_LOCATED = re.compile(
    r"(?i)\b(?:is|are|was|lies|occurs?|meets?|intersects?|cross(?:es)?|touch(?:es)?) at\s*$"
)
_AT = re.compile(r"(?i)\b(?:at|by|until)\s*$")


_QUESTION = re.compile(r"(?i)\b(?:what|how (?:much|many|long|far|old)|which|who|find|determine)\b[^.?!]*\?")
_NARRATED = re.compile(r"(?i)\b(?:had|started with|began with|starts with|begins with)\s*[\s$£€]*$")
_WENT_ON = re.compile(
    r"(?i)\b(?:and|but|then)\s+(?:then |later |he |she |they )?"
    r"(?:[a-z]+ed|ate|gave|lost|sold|bought|spent|took|got|found|lent|gives?|loses?|sells?|buys?|spends?|takes?|gets?|finds?|eats?)\b"
)


@dataclass(frozen=True, slots=True)
class _Clause:
    """What stands around a value: its sentence before it, the last clause of that, and what stands behind."""

    sentence: str
    lead: str
    rest: str
    following: str

    @property
    def asked(self) -> bool:
        """Whether its sentence is a question."""
        return self.following.startswith("?")


def lead_of(text: str, start: int) -> str:
    """What stands before a value in its clause."""
    return _around(text, start, start).lead


def _around(text: str, start: int, end: int) -> _Clause:
    before, after = text[max(0, start - _FAR) : start], text[end : end + _FAR]
    cut = [found.end() for found in _SENTENCE_START.finditer(before)]
    sentence = before[cut[-1] :] if cut else before
    clauses = [found.end() for found in _CLAUSE_START.finditer(sentence)]
    stop = _STOP.search(after)
    rest, following = (after[: stop.start()], after[stop.start() :]) if stop else (after, "")
    return _Clause(sentence, sentence[clauses[-1] :] if clauses else sentence, rest, following)


def doubted(text: str, start: int, end: int) -> bool:
    """Whether the clause of text[start:end] supposes, quotes or denies the value, or it is taken back behind."""
    return _doubted(_around(text, start, end)) or retracted(text, end)


def _doubted(clause: _Clause) -> bool:
    return bool(
        clause.asked
        or _UNSOUND.search(clause.lead)
        or _UNSOUND.search(clause.rest)
        or _TAKEN_BACK.search(clause.following)
    )


def stated(text: str, start: int, end: int) -> bool:
    """Whether the value at text[start:end] is stated as the result, and not taken back behind."""
    clause = _around(text, start, end)
    lead, rest, following = clause.lead, clause.rest, clause.following
    if _doubted(clause) or _OF_ANSWERS.search(lead) or retracted(text, end):
        return False
    if _COMPARED.search(rest) or _QUESTION.search(following):
        return False
    if _NARRATED.search(lead) and _WENT_ON.search(rest):
        # What somebody had at first: "Tom had 5 apples and ate some."
        return False
    if _OUTPUT.search(text, max(0, start - _FAR), start) and text[end:].lstrip().startswith("```"):
        return True
    if _CLOCK.match(text, start) and _AT.search(lead):
        return True
    if _LOCATED.search(lead) and text[start:end].lstrip("$\\ ").startswith("("):
        # "The vertex is at (2, -3)."
        return True
    if _VERB_NEXT.match(rest) and "=" not in text[start:end] and not _STATES.search(lead):
        return False
    if _STATES.search(lead) or _CONCLUDES.search(clause.sentence) or (lead.strip() and _JUST.match(lead)):
        return True
    if _OPENS.fullmatch(lead) and not (rest + following.partition("\n")[0]).strip(" $*._`"):
        # The value alone on its line.
        return True
    # "19 people were late.", as the last thing said.
    return bool(_OPENS.fullmatch(lead)) and not following.strip(" .!\n`*$")


_RETRACTED = re.compile(
    r"(?i)[\s$.?!)\]}*_\\–—-]*(?:(?:hmm+|well|oh|ah|oops|ok(?:ay)?|but)[,.!\s]*)*"
    r"(?:no\s*[.,!?]|no$|no,? wait\b|wait\b(?=.{0,80}\b(?:no|not|wrong|incorrect|mistake|actually|error)\b)"
    r"|hold on\b|correction\b|actually,? (?:no|that|this|it)\b|sorry\b"
    r"|(?:this|that|which)(?:'s| is| was)(?: \w+)? (?:wrong|incorrect|false"
    r"|not (?:right|correct|true|the answer)))"
)
_GIVEN_UP = re.compile(
    r"(?i)\b(?:i (?:give up|don'?t know|do not know|have no idea|am not sure|am (?:just )?guessing"
    r"|(?:could(?: not|n't)|can(?:not|'t)) (?:determine|solve|finish|complete"
    r"|find (?:the|an?|any) (?:answer|solution))"
    r"|am unable to|am stuck|retract|disagree|doubt (?:it|that|this))"
    r"|i'm not sure|just (?:kidding|a guess)|scratch that|never ?mind"
    r"|(?:disregard|ignore) (?:this|that|the above|my answer|my previous))\b"
)
_FAR = 400


def retracted(text: str, end: int) -> bool:
    """Whether the writer takes back what stands before `end`: "No, wait", "that is wrong", "I give up"."""
    after = text[end : end + _FAR]
    return bool(_RETRACTED.match(after) or _GIVEN_UP.search(after))
