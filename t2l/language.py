"""What the words of a hint say before any model reads them: folding, language, and what is refused.

"Solve it, no code" asks for no code: matching keywords on the bare text would find code. Everything that
looks for words in a hint therefore looks in `asserted(text)`, from which refused spans are cut out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

Language = str
"""The language of a hint's sentence frame: "en" or "zh"."""

_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z'\-]*")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-"})

_CUE_EN = r"""(?<![a-z0-9'])(?:
    do\ not | don'?t | never | must\ not | mustn'?t | should\ not | shouldn'?t
  | (?<=you\ )(?:cannot|can'?t|may\ not) | without | w/o | (?<!yes\ or\ )(?<!yes/)(?<!yes\ /\ )no | not
  | nothing | nor | neither | avoid(?:ing)?
  | except(?:ing)? | exclud(?:e|ing) | ignor(?:e|ing) | skip(?:ping)?
  | instead\ of | rather\ than | refrain\ from | stay\ away\ from | leave\ out | omit | refuse
)(?![a-z0-9'])"""
_CUE_ZH = r"""(?:
    不要 | 不用 | 不必 | 不需要? | 不得 | 不能 | 不可以? | 不许 | 不准 | 不应该? | 不该 | 无需 | 无须
  | 禁止 | 严禁 | 避免 | 拒绝 | 切勿 | 请勿 | 勿 | (?<![级类性区识分判鉴特个辨差])别(?![人名的墅处])
  | 不(?=[写做讲谈给含带涉包解评替翻改输生回算说提推使吃看聊讨作加])
)"""
_NOT_A_CUE = re.compile(
    r"not (?:only|just|necessarily|stated|sure)\b|no (?:more|less|fewer|longer|later|earlier|matter|one)\b"
    r"|without (?:doubt|fail|exception)\b|never fail|(?:do not|don'?t) (?:forget|hesitate)"
    r"|nothing (?:but|except)\b"
    r"|no[- ](?:code|sql)(?= (?:platform|tool|app|database|db))|不要忘记?了?|不得不|不能不|避免不了"
)
_END_EN = re.compile(r"[,;:!?\n()]|\.(?=\s|$)|\s-\s|—|\b(?:but|only|just|unless|until|though|please)\b")
_END_ZH = re.compile(r"[，。；：！？,;:!?\n（）()]|但是?|只(?!是)|而是|就|除非")
_LIST_OR = re.compile(r"(?:,[^,.;:!?\n]{1,40}){0,5},?\s(?:n?or)\s[^,.;:!?\n]*")
_LIST_AND = re.compile(r"(?:,[^,.;:!?\n]{1,40}){0,5},?\s(?:or|and)\s[^,.;:!?\n]*")
_CUE = re.compile(f"(?P<en>{_CUE_EN})|(?P<zh>{_CUE_ZH})", re.VERBOSE)
_ELSEWHERE_EN = re.compile(
    r"\b(?:is|are|by|to|for|belongs? to|up to|have|has)\s"
    r"(?:another|a different|a separate|some(?:one|body) else'?s?|other)\s"
    r"(?:bots?|assistants?|agents?|teams?|departments?|persons?|people|tools?|models?|systems?|job|services?)\b"
    r"|\b(?:is|are) (?:not|none of) (?:your|its|my|our) (?:concern|job|task|business|remit)\b"
)
_ELSEWHERE_ZH = re.compile(
    r"由(?:别|其他|其它|另)|交给(?:别|其他|其它|另)|是(?:别人|其他|另一)|另一个(?:机器人|助手|模型|系统)"
)
"""What is in a sentence that leaves something to somebody else."""
_SENTENCE_EN, _SENTENCE_ZH = re.compile(r"[^.;!?\n]+"), re.compile(r"[^，。；！？\n]+")
_FILLER = (
    r"(?:\s*(?:write|writes|writing|produce|output|give|giving|include|including|show|showing|generate|use|using"
    r"|provide|add|return|need|want|do|doing|any|an?|the|me|us|my|some|actual|sample|full|real|further|extra|to|of"
    r"|in|into|写出?|做|给出?|输出|生成|使?用|提供|带|附|包含|出现|任何|具体的?|完整的?|额外的?)(?![a-z]))*\s*"
)
"""Words that may stand between a refusal and the activity it refuses."""
_REST = (
    r"(?:\s*(?:samples?|snippets?|examples?|listings?|blocks?|示例|片段))?"
    r"\s*(?:$|[,、.;]|(?:and|or|nor|at all|please|here|和|或)\b)"
)
GAP = " | "
"""What stands in `asserted` text where a refused span was: no keyword reaches across it."""
MOST_CHARACTERS = 4000
"""How much of a text is read: more than any task hint needs, and a bound on what the patterns may cost."""

MOST_REFUSED = 200
"""Characters of what a hint refuses in which an activity is looked for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing a hint refuses: `cue` governs `what`; start and end are offsets in the folded text."""

    cue: str
    what: str
    start: int
    end: int


def plain(text: str) -> str:
    """The text's first MOST_CHARACTERS folded for matching: NFKC, small letters, straight quotes, single spaces.

    Line breaks stay.
    """
    folded = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).translate(_QUOTES).lower()
    return re.sub(r"[^\S\n]+", " ", folded).strip()


def language_of(text: str) -> Language:
    """ "zh" when at least a fifth of the words are Chinese (two characters count as a word), else "en"."""
    chinese = len(_CJK.findall(text)) / 2
    return "zh" if chinese and chinese >= 0.2 * (chinese + len(_LATIN_WORD.findall(text))) else "en"


def refusals(text: str) -> tuple[Refusal, ...]:
    """What a folded text refuses, in order. A double negation ("nothing but") refuses nothing."""
    found: list[Refusal] = []
    position = 0
    while cue := _CUE.search(text, position):
        position = cue.end()
        if _NOT_A_CUE.match(text, cue.start()):
            continue
        end = _scope_end(text, cue)
        found.append(Refusal(cue.group(), text[cue.end() : end].strip(), cue.start(), end))
        position = max(end, position)
    return tuple(found)


def asserted(text: str) -> str:
    """The folded text without what it refuses or leaves to somebody else."""
    for sentence, elsewhere in ((_SENTENCE_EN, _ELSEWHERE_EN), (_SENTENCE_ZH, _ELSEWHERE_ZH)):
        text = sentence.sub(lambda match, sought=elsewhere: GAP if sought.search(match[0]) else match[0], text)
    parts: list[str] = []
    position = 0
    for refusal in refusals(text):
        parts.append(text[position : refusal.start])
        position = refusal.end
    return GAP.join([*parts, text[position:]])


def refuses(text: str, activity: re.Pattern[str]) -> bool:
    """Whether a folded text refuses an activity itself ("no code"), not something about it ("no code fences")."""
    head = re.compile(f"{_FILLER}(?:[^,]*?(?:,|、|\\b(?:or|nor|and)\\b|和|或){_FILLER})?(?:{activity.pattern}){_REST}")
    return any(head.match(refusal.what[:MOST_REFUSED]) for refusal in refusals(text))


def _scope_end(text: str, cue: re.Match[str]) -> int:
    limit = (_END_ZH if cue["zh"] else _END_EN).search(text, cue.end())
    end = limit.start() if limit else len(text)
    if cue["en"] and limit and limit.group() == ",":
        listed = (_LIST_AND if cue["en"].startswith("ignor") else _LIST_OR).match(text, end)
        end = listed.end() if listed else end
    return end
