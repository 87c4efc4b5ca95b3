"""Q(d): how well a task description says what is wanted. Q = sum_i LAMBDA[i] * q_i(d), each q_i in [0, 1].

With n = words (two Chinese characters count as one):
- length:      n / 12 below 12 words, 1 from 12 to 60, then falling linearly to 0.3 at 200 and beyond.
- structure:   a third each for a clause that opens with an action verb, for closing punctuation at the end, and
               for naming the outcome ("goal", "output", "return", 目标, 输出 ...).
- vocabulary:  the largest KeyMatch of any skill (t2l/skills.py): do the words say which field this is?
- clarity:     1 - 3 * (vague, filler or chat words) / n - 0.2 for runs of punctuation, at least 0.
- specificity: 1 - 0.6^s, s = numbers, names and identifiers, quotations, format words and refusals in it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from t2l.language import MOST_CHARACTERS, asserted, plain, refusals
from t2l.skills import SkillSet

LAMBDA = {"length": 0.25, "structure": 0.25, "vocabulary": 0.2, "clarity": 0.15, "specificity": 0.15}
"""Weights of the parts; they sum to 1. Length and structure lead: a rewrite can mend them without inventing."""

SHORTEST, LONGEST = 12, 60
"""The length band, in words."""

_WORD = re.compile(r"[^\W\d_\u3400-\u9fff][\w'\-.+#/]*|\d[\w.,:%/]*")
_CJK = re.compile(r"[\u3400-\u9fff]")
_CLAUSE = re.compile(r"[.!?;:,()\n，。；：！？、]\s*")
_ACTIONS = """
    add act analyse analyze annotate answer apply argue ask assess assign assist build calculate
    categorise categorize change check choose classify clean coach combine comment compare complete
    compose compress compute condense consider construct continue convert copy correct count create
    debug decide deduce define derive describe design detect determine develop differentiate discuss
    document draft draw edit estimate evaluate examine execute expand explain explore extract fill
    find fix follow format formulate generate give grade guess guide handle help highlight identify
    implement improve infer interpret invent judge justify label list locate make map match merge
    model optimise optimize organise organize outline output paraphrase parse perform plan play
    polish predict prepare present print produce proofread propose prove provide pull quote rank
    rate read reason recommend refactor remove rename rephrase replace reply report resolve respond
    restate return review revise rewrite round run say scale select set show simplify sketch solve
    sort specify split state suggest sum summarise summarize support tag take teach tell test tidy
    trace train transform translate triage turn tutor type use validate verify walk work write
    """
_ACTIONS_EN = frozenset(_ACTIONS.split())
_ACTIONS_ZH = re.compile(
    r"^(?:请|帮我?|给我|麻烦|你?要|需要|能|够|先|再|然后|并)*(?:编?写|撰写|做|求|解|计?算|估算|翻译|总结|概括|归纳|回答|解释|讲|介绍|说明"
    r"|分析|判断|提取|抽取|找|给|列|生成|实现|把|将|根据|依据|用|阅?读|改|润色|推|证|验证|设计|制定|检查|核对|比较|补全|修|优化|识别"
    r"|分类|标注|整理|画|起|看|出|查|排|建|输出|续|扩|教|陪|扮演|批改|推荐|对|从|为)"
)
_OUTCOME = re.compile(
    r"\b(?:goal|output|return|result|reply with|answer (?:with|in|by)|respond (?:with|in)|so that|in order to"
    r"|final|deliver|format)\w*\b|目标|输出|返回|给出|结果|最后|目的|回复|得到"
)
_VAGUE = re.compile(
    r"(?<![a-z])(?:stuff|things?|something|whatever|some ?how|kinda|sorta|etc|like|basically|just|really|pls|plz"
    r"|please|thx|thanks|ok|okay|u|ur|r|im|wanna|gonna|gotta|hey|hi|hello|w/|b/c|idk|btw|asap)(?![a-z])"
    r"|那个|一下|吧|呗|弄|啥|东西|之类|随便|什么的"
)
_PUNCTUATION_RUN = re.compile(r"[!?！？]{2,}|\.{4,}|。{2,}")
_SPECIFIC = re.compile(
    r"\d[\d.,:%/\-]*|(?<=[a-z,] )[A-Z][\w\-]+|\b[A-Z]{2,}\w*\b|\b\w+[_.#+]\w+|\w\+\+"
    r"|[\"“「《][^\"”」》]{1,200}[\"”」》]"
    r"|\b(?i:json|csv|yaml|xml|html|markdown|latex|tables?|bullets?|lists?|words?|sentences?|paragraphs?|only)\b"
    r"|表格|列表|字以内|格式|只(?=[要看用给写])|[一二三四五六七八九十百]+(?=[个字句段条步行篇])"
)


@dataclass(frozen=True, slots=True)
class Quality:
    """The parts of Q, each in [0, 1]."""

    length: float
    structure: float
    vocabulary: float
    clarity: float
    specificity: float

    @property
    def total(self) -> float:
        """Q, in [0, 1]."""
        return sum(LAMBDA[name] * value for name, value in asdict(self).items())


def quality(text: str, skills: SkillSet) -> Quality:
    """Q's parts for one text; deterministic."""
    words = count_words(text)
    if not words:
        return Quality(0.0, 0.0, 0.0, 0.0, 0.0)
    text = text[:MOST_CHARACTERS]
    folded = plain(text)
    said = asserted(folded)
    specifics = len(_SPECIFIC.findall(text)) + len(refusals(folded))
    muddle = 3 * len(_VAGUE.findall(folded)) / words + (0.2 if _PUNCTUATION_RUN.search(text) else 0.0)
    return Quality(
        length=_length(words),
        structure=(has_action(text) + _is_closed(text) + bool(_OUTCOME.search(folded))) / 3,
        vocabulary=max(skill.key_match(said) for skill in skills.skills),
        clarity=max(0.0, 1 - muddle),
        specificity=1 - 0.6**specifics,
    )


def count_words(text: str) -> float:
    """Words of a text; a Chinese character counts as half a word."""
    return len(_WORD.findall(text)) + len(_CJK.findall(text)) / 2


def has_action(text: str) -> bool:
    """Whether some clause opens with an action verb, English or Chinese."""
    return any(_opens_with_action(clause) for clause in _CLAUSE.split(text) if clause)


def _opens_with_action(clause: str) -> bool:
    words = re.findall(r"[a-z']+", clause.lower())
    while words and words[0] in {
        "please",
        "kindly",
        "you",
        "must",
        "should",
        "will",
        "can",
        "then",
        "and",
        "to",
        "always",
    }:
        words.pop(0)
    return bool(words and words[0] in _ACTIONS_EN) or bool(_ACTIONS_ZH.match(clause.strip()))


def _length(words: float) -> float:
    if words < SHORTEST:
        return words / SHORTEST
    return 1.0 if words <= LONGEST else max(0.3, 1 - 0.7 * (words - LONGEST) / (200 - LONGEST))


def _is_closed(text: str) -> bool:
    return text.rstrip().endswith((".", "!", "?", "。", "！", "？", ":", ")", "”", '"'))
