# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Small phrases to translate, Chinese sentences, and pairs of countries."""

import json
import random
from dataclasses import dataclass

from t2l.train.families import numerals, words
from t2l.train.families.core import Kind, Operation

# --- phrases such as "three black cats" ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phrase:
    """A number from two to ten, a colour and a noun with entries in words.NOUNS and words.COLOUR_WORDS."""

    number: int
    colour: str
    noun: str

    @property
    def plural(self) -> str:
        return {"fish": "fish"}.get(self.noun, words.plural(self.noun))

    def write(self, number: str = "", colour: str | None = None) -> str:
        parts = (
            number or numerals.english(self.number),
            self.colour if colour is None else colour,
            self.plural,
        )
        return " ".join(part for part in parts if part)

    @property
    def spanish(self) -> str:
        _, gender, noun, *_ = words.NOUNS[self.noun]
        return f"{numerals.spanish(self.number)} {noun} {words.COLOUR_WORDS[self.colour][0 if gender == 'm' else 1]}"

    @property
    def french(self) -> str:
        _, _, _, _, gender, noun, *_ = words.NOUNS[self.noun]
        return f"{numerals.french(self.number)} {noun} {words.COLOUR_WORDS[self.colour][2 if gender == 'm' else 3]}"

    @property
    def german(self) -> str:
        return (
            f"{numerals.german(self.number)} {words.COLOUR_WORDS[self.colour][4]} {words.NOUNS[self.noun][8]}"
        )

    @property
    def chinese(self) -> str:
        number = "两" if self.number == 2 else numerals.chinese(self.number)
        return f"{number}{words.NOUNS[self.noun][10]}{words.COLOUR_WORDS[self.colour][5]}色的{words.NOUNS[self.noun][9]}"


def _make_phrase(rng: random.Random) -> tuple[Phrase, str]:
    phrase = Phrase(rng.randint(2, 10), rng.choice(tuple(words.COLOUR_WORDS)), rng.choice(tuple(words.NOUNS)))
    return phrase, phrase.write()


def _spanish_noun(p: Phrase) -> str:
    noun, gender, *_ = words.NOUNS[p.noun]
    return f"{'el' if gender == 'm' else 'la'} {noun}"


def _french_noun(p: Phrase) -> str:
    noun, gender = words.NOUNS[p.noun][3:5]
    return f"l'{noun}" if noun[0] in "aeiouh" else f"{'le' if gender == 'm' else 'la'} {noun}"


def _german_noun(p: Phrase) -> str:
    return " ".join(words.NOUNS[p.noun][6:8])


_INTO = "(translate|put|turn) (it|the phrase|the text) into"
_PHRASE_OPERATIONS = (
    Operation(
        "spanish",
        "text",
        lambda p: p.spanish,
        do=f"{_INTO} Spanish|give the Spanish translation",
        zh="翻译成西班牙语",
    ),
    Operation(
        "french",
        "text",
        lambda p: p.french,
        do=f"{_INTO} French|give the French translation",
        zh="翻译成法语",
    ),
    Operation(
        "german",
        "text",
        lambda p: p.german,
        do=f"{_INTO} German|give the German translation",
        zh="翻译成德语",
    ),
    Operation(
        "chinese",
        "token",
        lambda p: p.chinese,
        do=f"{_INTO} Chinese( with 色的 after the colour|, colour + 色的)",
        zh="翻译成中文（颜色后用“色的”）",
    ),
    Operation(
        "i_see_spanish",
        "prose",
        lambda p: f"Veo {p.spanish}.",
        do="(say|write) 'I see ...' with it in Spanish, beginning with Veo, with a full stop",
    ),
    Operation(
        "i_see_french",
        "prose",
        lambda p: f"Je vois {p.french}.",
        do="(say|write) 'I see ...' with it in French, beginning with Je vois, with a full stop",
    ),
    Operation(
        "i_see_german",
        "prose",
        lambda p: f"Ich sehe {p.german}.",
        do="(say|write) 'I see ...' with it in German, beginning with Ich sehe, with a full stop",
    ),
    Operation(
        "i_see_chinese",
        "prose",
        lambda p: f"我看见{p.chinese}。",
        do="(say|write) 'I see ...' with it in Chinese: 我看见, the phrase with 色的 after the colour, 。",
        zh="翻译成中文并以“我看见”开头、句号结尾（颜色后用“色的”）",
    ),
    Operation(
        "i_see",
        "prose",
        lambda p: f"I see {p.write()}.",
        do="(write|make) the English sentence 'I see ...' with it and a full stop",
    ),
    Operation(
        "how_many",
        "prose",
        lambda p: f"How many {p.colour} {p.plural} are there?",
        do="(ask|write) the question it answers: 'How many ... are there?'",
    ),
    Operation(
        "no_colour_sentence",
        "prose",
        lambda p: f"There are {p.write(colour='')}.",
        do="(write|make) 'There are ...' with number and noun but without the colour, with a full stop",
    ),
    Operation(
        "noun_spanish",
        "text",
        _spanish_noun,
        what="the Spanish word for the noun, singular, with el or la",
        zh="给出名词的西班牙语单数（带el或la）",
    ),
    Operation(
        "noun_french",
        "text",
        _french_noun,
        what="the French word for the noun, singular, with le, la or l'",
        zh="给出名词的法语单数（带le、la或l'）",
    ),
    Operation(
        "noun_german",
        "text",
        _german_noun,
        what="the German word for the noun, singular, with der, die or das",
        zh="给出名词的德语单数（带der、die或das）",
    ),
    Operation(
        "noun_chinese",
        "token",
        lambda p: words.NOUNS[p.noun][9],
        what="the Chinese word for the noun",
        zh="给出名词的中文",
    ),
    Operation(
        "nouns_three",
        "list",
        lambda p: (words.NOUNS[p.noun][0], words.NOUNS[p.noun][3], words.NOUNS[p.noun][7]),
        what="the noun in Spanish, French and German, singular, without articles",
    ),
    Operation(
        "plural_spanish",
        "text",
        lambda p: words.NOUNS[p.noun][2],
        what="the Spanish plural of the noun, without article",
    ),
    Operation(
        "plural_french",
        "text",
        lambda p: words.NOUNS[p.noun][5],
        what="the French plural of the noun, without article",
    ),
    Operation(
        "plural_german",
        "text",
        lambda p: words.NOUNS[p.noun][8],
        what="the German plural of the noun, without article",
    ),
    Operation(
        "article_german",
        "text",
        lambda p: words.NOUNS[p.noun][6],
        do="(answer|output) der, die or das: the German article of the noun in the singular",
    ),
    Operation(
        "gender_spanish",
        "text",
        lambda p: "masculine" if words.NOUNS[p.noun][1] == "m" else "feminine",
        do="(say|tell me) (whether|if) the noun is masculine or feminine in Spanish",
    ),
    Operation(
        "gender_french",
        "text",
        lambda p: "masculine" if words.NOUNS[p.noun][4] == "m" else "feminine",
        do="(say|tell me) (whether|if) the noun is masculine or feminine in French",
    ),
    Operation(
        "colour_chinese",
        "token",
        lambda p: words.COLOUR_WORDS[p.colour][5] + "色",
        what="the colour in Chinese, with 色",
        zh="用中文给出颜色（带“色”字）",
    ),
    Operation("number", "count", lambda p: p.number, what="the number( in it|)", zh="给出数量"),
    Operation(
        "number_plus_one",
        "count",
        lambda p: p.number + 1,
        do="add one to the number",
        what="the number plus one",
    ),
    Operation(
        "number_doubled", "count", lambda p: 2 * p.number, do="double the number", what="twice the number"
    ),
    Operation("colour", "text", lambda p: p.colour, what="the colour", zh="给出颜色"),
    Operation("noun", "text", lambda p: p.noun, what="the noun in the singular", zh="给出名词的单数"),
    Operation("noun_plural", "text", lambda p: p.plural, what="(only the noun|the noun as it stands)"),
    Operation(
        "singular",
        "text",
        lambda p: f"one {p.colour} {p.noun}",
        do="(put|rewrite|write) it in the singular, beginning with one",
    ),
    Operation(
        "digits",
        "text",
        lambda p: p.write(number=str(p.number)),
        do="(write|replace) the number (as|with) digits and keep the rest",
        zh="把数字改写成阿拉伯数字，其余不变",
    ),
    Operation(
        "one_more",
        "text",
        lambda p: p.write(number=numerals.english(p.number + 1)),
        do="(raise|increase) the number by one, as a word, and keep the rest",
    ),
    Operation(
        "a_hundred",
        "text",
        lambda p: p.write(number="a hundred"),
        do="(change|switch) the number to a hundred and keep the rest",
    ),
    Operation(
        "golden",
        "text",
        lambda p: p.write(colour="golden"),
        do="(change|switch) the colour to golden and keep the rest",
    ),
    Operation(
        "no_colour",
        "text",
        lambda p: p.write(colour=""),
        do="(drop|remove|leave out) the colour",
        zh="去掉颜色",
    ),
    Operation(
        "no_number",
        "text",
        lambda p: f"{p.colour} {p.plural}",
        do="(drop|remove|leave out) the number",
        zh="去掉数量",
    ),
    Operation(
        "very", "text", lambda p: p.write(colour=f"very {p.colour}"), do="(insert|put) very before the colour"
    ),
    Operation(
        "words",
        "list",
        lambda p: tuple(p.write().split()),
        do="(split|break) it into its words",
        what="(its words|the words one by one)",
    ),
    Operation(
        "words_reversed",
        "list",
        lambda p: tuple(p.write().split())[::-1],
        what="(its words|the words), from last to first",
    ),
    Operation(
        "colour_and_noun",
        "list",
        lambda p: (p.colour, p.noun),
        what="the colour and the noun, the noun in the singular",
    ),
    Operation(
        "over_five",
        "text",
        lambda p: "yes" if p.number > 5 else "no",
        do="(say|tell me|check) (whether|if) there are more than five, yes or no",
    ),
    Operation(
        "parity",
        "text",
        lambda p: "even" if p.number % 2 == 0 else "odd",
        do="(say|tell me) (whether|if) the number is even or odd",
    ),
    Operation(
        "json",
        "block",
        lambda p: json.dumps({"n": p.number, "colour": p.colour, "noun": p.noun}),
        do="(write|give) a JSON object with n (a number), colour and noun (singular)",
    ),
    Operation(
        "json_languages",
        "block",
        lambda p: json.dumps(
            {"es": words.NOUNS[p.noun][0], "fr": words.NOUNS[p.noun][3], "de": words.NOUNS[p.noun][7]},
            ensure_ascii=False,
        ),
        do="(write|give) a JSON object with the noun, singular without article, under es, fr and de",
    ),
    Operation(
        "python",
        "block",
        lambda p: f'["{p.noun}"] * {p.number}',
        do="(write|give) a Python expression that repeats a one-item list of the singular noun, in double quotes, that many times",
    ),
    Operation(
        "assignment",
        "block",
        lambda p: f"{p.colour}_{p.plural} = {p.number}",
        do="(write|give) a Python assignment of the number to a variable named colour_noun, the noun as it stands",
    ),
)

# --- Chinese sentences ---------------------------------------------------------------------------------------------------

_WHO = {
    "小明": "Xiaoming",
    "小红": "Xiaohong",
    "老师": "the teacher",
    "医生": "the doctor",
    "妈妈": "Mum",
    "爸爸": "Dad",
    "我的朋友": "my friend",
    "姐姐": "my sister",
}
_WHEN = {
    "昨天": "yesterday",
    "今天早上": "this morning",
    "上个星期": "last week",
    "明天": "tomorrow",
    "下个星期": "next week",
}
_WHERE = {
    "公园": "in the park",
    "学校": "at school",
    "家": "at home",
    "图书馆": "in the library",
    "办公室": "in the office",
    "花园": "in the garden",
}
_DOES = {"看书": ("read", "read"), "吃饭": ("eat", "ate"), "唱歌": ("sing", "sang"), "跳舞": ("dance", "danced"), "画画": ("paint", "painted"), "睡觉": ("sleep", "slept"), "写信": ("write letters", "wrote letters"), "打电话": ("make phone calls", "made phone calls")}  # fmt: skip
_FUTURE = ("明天", "下个星期")


@dataclass(frozen=True, slots=True)
class Chinese:
    """<who><when>在<where><does>。"""

    who: str
    when: str
    where: str
    does: str

    def write(
        self,
        who: str = "",
        when: str | None = None,
        where: str = "",
        does: str = "",
        no: str = "",
        end: str = "。",
    ) -> str:
        return f"{who or self.who}{self.when if when is None else when}{no}在{where or self.where}{does or self.does}{end}"

    @property
    def future(self) -> bool:
        return self.when in _FUTURE

    @property
    def english(self) -> str:
        who, verb = _WHO[self.who], _DOES[self.does]
        text = (
            f"{who} {'will ' + verb[0] if self.future else verb[1]} {_WHERE[self.where]} {_WHEN[self.when]}."
        )
        return text[0].upper() + text[1:]


def _make_chinese(rng: random.Random) -> tuple[Chinese, str]:
    c = Chinese(*(rng.choice(tuple(options)) for options in (_WHO, _WHEN, _WHERE, _DOES)))
    return c, c.write()


_CHINESE_OPERATIONS = (
    Operation(
        "who", "token", lambda c: c.who, what="who does it, (in Chinese|as in the text)", zh="找出做事的人"
    ),
    Operation(
        "when",
        "token",
        lambda c: c.when,
        what="when it happens, (in Chinese|as in the text)",
        zh="找出时间词",
    ),
    Operation(
        "where",
        "token",
        lambda c: c.where,
        what="where it happens, (in Chinese|as in the text), without 在",
        zh="找出地点，不要“在”字",
    ),
    Operation(
        "does",
        "token",
        lambda c: c.does,
        what="(the action|what is done), (in Chinese|as in the text)",
        zh="找出动作",
    ),
    Operation(
        "who_english",
        "text",
        lambda c: _WHO[c.who],
        what="who does it, in English: Xiaoming, Xiaohong, the teacher, the doctor, Mum, Dad, my friend or my sister",
    ),
    Operation(
        "when_english",
        "text",
        lambda c: _WHEN[c.when],
        what="the time in English( only|), such as yesterday",
        zh="用英语给出时间",
    ),
    Operation(
        "where_english",
        "text",
        lambda c: _WHERE[c.where],
        what="the place in English( only|), with its preposition",
        zh="用英语给出地点（带介词）",
    ),
    Operation(
        "does_english",
        "text",
        lambda c: _DOES[c.does][0],
        what="the action in English, in the base form",
        zh="用英语给出动作（动词原形）",
    ),
    Operation(
        "english",
        "prose",
        lambda c: c.english,
        do="(translate|turn) (it|the sentence) into English, with the place before the time, past tense or will",
        zh="翻译成英语，地点放在时间前面",
    ),
    Operation(
        "future",
        "text",
        lambda c: "future" if c.future else "past",
        do="(say|tell me|decide) (whether|if) it is about the past or the future: past or future",
        zh="判断是past还是future",
    ),
    Operation(
        "future_chinese",
        "token",
        lambda c: "将来" if c.future else "过去",
        do="(answer|output) 过去 if it is about the past, 将来 if about the future",
        zh="判断是过去还是将来",
    ),
    Operation(
        "future_label",
        "token",
        lambda c: "1" if c.future else "0",
        do="(answer|output) 1 if it is about the future, 0 if about the past",
    ),
    Operation(
        "tomorrow",
        "prose",
        lambda c: c.write(when="后天"),
        do="(change|switch) the time to 后天 and keep the rest",
        zh="把时间换成“后天”，其余不变",
    ),
    Operation(
        "in_shop",
        "prose",
        lambda c: c.write(where="商店"),
        do="(change|switch) the place to 商店 and keep the rest",
        zh="把地点换成“商店”，其余不变",
    ),
    Operation(
        "swim",
        "prose",
        lambda c: c.write(does="游泳"),
        do="(change|switch) the action to 游泳 and keep the rest",
        zh="把动作换成“游泳”，其余不变",
    ),
    Operation(
        "by_me",
        "prose",
        lambda c: c.write(who="我"),
        do="(change|switch) the person to 我 and keep the rest",
        zh="把人换成“我”，其余不变",
    ),
    Operation(
        "no_time",
        "prose",
        lambda c: c.write(when=""),
        do="(drop|remove|leave out) the time and keep the rest",
        zh="去掉时间词",
    ),
    Operation(
        "question",
        "prose",
        lambda c: c.write(end="吗？"),
        do="(turn|make) it into a yes/no question with 吗",
        zh="用“吗”改成疑问句",
    ),
    Operation(
        "negative",
        "prose",
        lambda c: c.write(no="不会" if c.future else "没有"),
        do="negate it with 没有 before 在 (past) or 不会 (future)",
        zh="改成否定句：过去用“没有”，将来用“不会”，放在“在”前面",
    ),
    Operation(
        "who_question",
        "prose",
        lambda c: c.write(who="谁", end="？"),
        do="(ask|write) who does it, with 谁 in place of the person and ？",
        zh="把人换成“谁”，改成问句",
    ),
    Operation(
        "where_question",
        "prose",
        lambda c: c.write(where="哪里", end="？"),
        do="(ask|write) where it happens, with 哪里 in place of the place and ？",
        zh="把地点换成“哪里”，改成问句",
    ),
    Operation(
        "when_question",
        "prose",
        lambda c: c.write(when="什么时候", end="？"),
        do="(ask|write) when it happens, with 什么时候 in place of the time and ？",
        zh="把时间换成“什么时候”，改成问句",
    ),
    Operation(
        "time_first",
        "prose",
        lambda c: f"{c.when}，{c.write(when='')}",
        do="(move|put) the time to the front, followed by ，",
        zh="把时间移到句首，后面加逗号",
    ),
    Operation(
        "exclaim",
        "prose",
        lambda c: c.write(end="！"),
        do="(change|switch) the full stop to ！",
        zh="把句号换成感叹号",
    ),
    Operation(
        "heard",
        "prose",
        lambda c: f"我听说{c.write()}",
        do="(begin|start) with 我听说 and keep the sentence",
        zh="在句首加“我听说”",
    ),
    Operation(
        "together",
        "prose",
        lambda c: c.write(who=f"{c.who}和我"),
        do="(add|put) 和我 after the person and keep the rest",
        zh="在人物后面加“和我”",
    ),
    Operation(
        "where_who",
        "list",
        lambda c: (c.where, c.who),
        what="the place and the person, (in Chinese|as in the text), in this order",
        zh="依次列出地点和人物",
    ),
    Operation(
        "parts",
        "list",
        lambda c: (c.who, c.when, c.where, c.does),
        what="the person, the time, the place without 在, and the action, (in Chinese|as in the text)",
        zh="依次列出人物、时间、地点（不要“在”）、动作",
    ),
    Operation(
        "parts_english",
        "list",
        lambda c: (_WHEN[c.when], _WHERE[c.where]),
        what="the time and the place in English, the place with its preposition",
    ),
    Operation(
        "at_home",
        "text",
        lambda c: "yes" if c.where == "家" else "no",
        do="(say|tell me|check) (whether|if) it happens at home, yes or no",
        zh="判断是否在家，回答yes或no",
    ),
    Operation(
        "json",
        "block",
        lambda c: json.dumps({"who": c.who, "where": c.where}, ensure_ascii=False),
        do="(write|give) a JSON object with who and where, values in Chinese, without 在",
        zh="输出含who和where的JSON，值用中文，不要“在”",
    ),
    Operation(
        "yaml",
        "block",
        lambda c: f"when: {c.when}\nwhat: {c.does}",
        do="(write|give) two YAML lines, when and what (the action), values in Chinese",
        zh="写两行YAML：when和what（动作），值用中文",
    ),
)

# --- countries -----------------------------------------------------------------------------------------------------------

Pair = tuple[str, str]


def _make_pair(rng: random.Random) -> tuple[Pair, str]:
    first = rng.choice(tuple(words.COUNTRIES))
    near = rng.random() < 0.4  # else two countries would seldom share a continent
    second = rng.choice(
        [c for c in words.COUNTRIES if c != first and (not near or _fact(c, 1) == _fact(first, 1))]
    )
    return (first, second), rng.choice((f"{first}, {second}", f"{first} and {second}", f"{first} / {second}"))


_FIELDS = ("capital", "continent", "main language", "currency", "demonym", "Chinese name")


def _facts(field: int) -> list[Operation]:
    named = _FIELDS[field] if field != 4 else "adjective of nationality, such as Greek"
    wanted = (
        named if field != 1 else "continent (Europe, Asia, Africa, Oceania, North America or South America)"
    )
    comma = "," if field in (1, 4) else ""
    kind = "token" if field == 5 else "text"
    name = _FIELDS[field].replace(" ", "_").lower()
    zh = ("首都", "大洲", "主要语言", "货币", "", "中文名")[field]
    return [
        Operation(
            f"first_{name}",
            kind,
            lambda p: words.COUNTRIES[p[0]][field],
            what=f"the {wanted}{comma} (of|for) the first country",
            zh=f"给出第一个国家的{zh}" + ("" if field == 5 else "（用英语）") if zh else "",
        ),
        Operation(
            f"second_{name}",
            kind,
            lambda p: words.COUNTRIES[p[1]][field],
            what=f"the {wanted}{comma} (of|for) the second country",
        ),
        Operation(
            f"both_{name}",
            "list",
            lambda p: tuple(words.COUNTRIES[c][field] for c in p),
            what=f"the {wanted}{comma} (of|for) both countries, in order",
        ),
    ]


def _fact(country: str, field: int) -> str:
    return words.COUNTRIES[country][field]


_COUNTRY_OPERATIONS = (
    *(operation for field in range(6) for operation in _facts(field)),
    Operation("first", "text", lambda p: p[0], what="(the first country|the country named first)"),
    Operation("second", "text", lambda p: p[1], what="(the second country|the country named second)"),
    Operation("first_alphabetical", "text", min, what="the country that comes first in the alphabet"),
    Operation(
        "longer",
        "text",
        lambda p: max(p, key=len) if len(p[0]) != len(p[1]) else None,
        what="the country with the longer English name",
    ),
    Operation(
        "swapped",
        "list",
        lambda p: (p[1], p[0]),
        do="(swap|exchange) the two countries",
        what="(the two countries in reverse order|the second country, then the first)",
    ),
    Operation(
        "capitals_swapped",
        "list",
        lambda p: (_fact(p[1], 0), _fact(p[0], 0)),
        what="the capital of the second country, then of the first",
    ),
    Operation(
        "codes",
        "list",
        lambda p: tuple(c[:3].upper() for c in p),
        what="the first three letters of each country, in capitals",
    ),
    Operation(
        "country_and_capital",
        "list",
        lambda p: (p[0], _fact(p[0], 0)),
        what="the first country and its capital",
    ),
    Operation(
        "same_continent",
        "text",
        lambda p: "yes" if _fact(p[0], 1) == _fact(p[1], 1) else "no",
        do="(say|tell me|check) (whether|if) both are on the same continent, yes or no",
        zh="判断两国是否在同一个洲，回答yes或no",
    ),
    Operation(
        "same_currency",
        "text",
        lambda p: "true" if "euro" == _fact(p[0], 3) == _fact(p[1], 3) else "false",
        do="(say|tell me|check) (whether|if) both use the euro, true or false",
        zh="判断两国是否都使用欧元，回答true或false",
    ),
    Operation(
        "first_european",
        "text",
        lambda p: "yes" if _fact(p[0], 1) == "Europe" else "no",
        do="(say|tell me|check) (whether|if) the first country is in Europe, yes or no",
    ),
    Operation(
        "euro_count",
        "count",
        lambda p: sum(_fact(c, 3) == "euro" for c in p),
        do="count how many of the two use the euro",
        what="how many of the two countries use the euro",
    ),
    Operation(
        "europe_label",
        "token",
        lambda p: "A" if _fact(p[1], 1) == "Europe" else "B",
        do="(answer|output) A if the second country is in Europe, else B",
    ),
    Operation(
        "letters",
        "count",
        lambda p: len(p[0].replace(" ", "")),
        do="count the letters of the first country",
        what="the number of letters in the first country",
    ),
    Operation(
        "capital_sentence",
        "prose",
        lambda p: f"The capital of {p[0]} is {_fact(p[0], 0)}.",
        do="(write|say) 'The capital of COUNTRY is CITY.' for the first country",
    ),
    Operation(
        "second_sentence",
        "prose",
        lambda p: f"In {p[1]} people speak {_fact(p[1], 2)}.",
        do="(write|say) 'In COUNTRY people speak LANGUAGE.' for the second country",
    ),
    Operation(
        "trip",
        "prose",
        lambda p: f"We fly from {_fact(p[0], 0)} to {_fact(p[1], 0)}.",
        do="(write|say) 'We fly from CITY to CITY.' with the capitals, in order",
    ),
    Operation(
        "quiz",
        "prose",
        lambda p: f"What is the capital of {p[1]}?",
        do="(write|ask) the quiz question 'What is the capital of COUNTRY?' about the second country",
    ),
    Operation(
        "chinese_sentence",
        "prose",
        lambda p: f"我喜欢{_fact(p[0], 5)}和{_fact(p[1], 5)}。",
        do="(write|say) in Chinese: 我喜欢 X和Y。 with the Chinese names, without spaces",
        zh="用“我喜欢X和Y。”造句，国名用中文",
    ),
    Operation(
        "json",
        "block",
        lambda p: json.dumps({c: _fact(c, 0) for c in p}, ensure_ascii=False),
        do="(write|give) a JSON object that maps each country to its capital",
        zh="输出从国家到首都的JSON对象（用英语）",
    ),
    Operation(
        "json_currency",
        "block",
        lambda p: json.dumps({c: _fact(c, 3) for c in p}),
        do="(write|give) a JSON object that maps each country to its currency",
    ),
    Operation(
        "csv",
        "block",
        lambda p: "\n".join(f"{c},{_fact(c, 0)}" for c in p),
        do="(write|give) one CSV line per country: country and capital, no header, no spaces after the commas",
    ),
)

KINDS = (
    Kind(
        "phrase",
        "(a short English phrase|a number, a colour and a noun|a phrase like 'four blue cars')",
        _make_phrase,
        _PHRASE_OPERATIONS,
    ),
    Kind(
        "chinese",
        "(a Chinese sentence|one sentence in Chinese|a short Chinese text)",
        _make_chinese,
        _CHINESE_OPERATIONS,
    ),
    Kind(
        "countries",
        "(two countries|the names of two countries|a pair of countries)",
        _make_pair,
        _COUNTRY_OPERATIONS,
    ),
)
