# ruff: noqa: E501, SIM905  (wordings stay on one line, where they can be read and searched)
"""Short reviews and messages: sentiment, topics, tone and replies."""

import json
import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation

# --- reviews -------------------------------------------------------------------------------------------------------------

_ASPECTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # aspect: praise, blame
    "price": (("fair", "great"), ("too high", "unfair")),
    "quality": (("excellent", "superb"), ("poor", "awful")),
    "delivery": (("quick", "perfect"), ("terribly slow", "late")),
    "service": (("friendly", "helpful"), ("rude", "useless")),
    "design": (("beautiful", "elegant"), ("ugly", "boring")),
    "packaging": (("neat", "lovely"), ("damaged", "dirty")),
}
_GOODS = tuple(
    "lamp chair table sofa desk mirror jacket shirt hat coat guitar drill hammer bicycle scooter belt shelf scarf flute ladder".split()
)


@dataclass(frozen=True, slots=True)
class Review:
    """What two aspects of a product are like, in the order of the text."""

    product: str
    aspects: tuple[str, str]
    good: tuple[bool, bool]
    adjectives: tuple[str, str]

    @property
    def sentiment(self) -> str:
        return {(True, True): "positive", (False, False): "negative"}.get(self.good, "mixed")

    def text(self, opening: str) -> str:
        link = "and" if self.good[0] == self.good[1] else "but"
        return f"{opening.format(self.product)} {self.verdict(0)}, {link} {self.verdict(1).lower()}."

    def verdict(self, i: int) -> str:
        return f"The {self.aspects[i]} {'is' if self.aspects[i] in ('price', 'quality', 'design') else 'was'} {self.adjectives[i]}"

    def liked(self, good: bool) -> tuple[str, ...]:
        return tuple(a for a, g in zip(self.aspects, self.good, strict=True) if g is good)


def _make_review(rng: random.Random) -> tuple[Review, str]:
    aspects = tuple(rng.sample(tuple(_ASPECTS), 2))
    good = rng.choice(((True, True), (False, False), (True, False), (False, True)))
    adjectives = tuple(rng.choice(_ASPECTS[a][0 if g else 1]) for a, g in zip(aspects, good, strict=True))
    review = Review(rng.choice(_GOODS), (aspects[0], aspects[1]), good, (adjectives[0], adjectives[1]))
    return review, review.text(
        rng.choice(("I bought this {} last week.", "My new {} has arrived.", "I ordered a {} here."))
    )


def _by_sentiment(positive: str, negative: str, mixed: str):
    labels = {"positive": positive, "negative": negative, "mixed": mixed}
    return lambda review: labels[review.sentiment]


def _labels(
    name: str, kind: str, positive: str, negative: str, mixed: str, do: str, zh: str = ""
) -> Operation:
    return Operation(name, kind, _by_sentiment(positive, negative, mixed), do=do, zh=zh)


_REVIEW = "(the review|the text)"
_REVIEW_OPERATIONS = (
    _labels(
        "sentiment",
        "text",
        "positive",
        "negative",
        "mixed",
        f"(classify|label) {_REVIEW} as positive, negative or mixed|(say|tell me) (whether|if) {_REVIEW} is positive, negative or mixed",
        zh="判断评价是positive、negative还是mixed",
    ),
    _labels(
        "letters",
        "token",
        "A",
        "B",
        "C",
        f"(label|mark) {_REVIEW}: A for praise only, B for complaints only, C for both",
    ),
    _labels(
        "stars",
        "count",
        5,
        1,
        3,
        f"(rate|score) {_REVIEW} (in stars|with a number of stars): 5 if all is good, 1 if all is bad, 3 if mixed",
    ),
    _labels(
        "signs",
        "token",
        "+",
        "-",
        "+/-",
        f"(mark|label) {_REVIEW} with + if positive, - if negative, +/- if mixed",
    ),
    _labels(
        "emoji",
        "token",
        "😀",
        "😡",
        "😐",
        "(answer|react) with one emoji: 😀 for a positive review, 😡 for a negative one, 😐 for a mixed one",
    ),
    _labels(
        "spanish",
        "text",
        "positiva",
        "negativa",
        "mixta",
        f"(classify|label) {_REVIEW} in Spanish: positiva, negativa or mixta",
    ),
    _labels(
        "french",
        "text",
        "positif",
        "négatif",
        "mitigé",
        f"(classify|label) {_REVIEW} in French: positif, négatif or mitigé",
    ),
    _labels(
        "german",
        "text",
        "gut",
        "schlecht",
        "gemischt",
        f"(classify|label) {_REVIEW} in German: gut, schlecht or gemischt",
    ),
    _labels(
        "chinese",
        "token",
        "好评",
        "差评",
        "中评",
        f"(classify|label) {_REVIEW} in Chinese: 好评 (positive), 差评 (negative) or 中评 (mixed)",
        zh="判断是好评、差评还是中评",
    ),
    _labels(
        "score",
        "token",
        "1",
        "-1",
        "0",
        "(give|output) 1 for a positive review, -1 for a negative one and 0 for a mixed one",
    ),
    _labels(
        "happy",
        "text",
        "happy",
        "angry",
        "unsure",
        "(say|tell me|name) the mood of the customer: happy (only praise), angry (only complaints) or unsure (both)",
    ),
    Operation(
        "all_good",
        "text",
        lambda r: "yes" if all(r.good) else "no",
        do="(say|tell me|check) (whether|if) everything is praised, yes or no",
    ),
    Operation(
        "any_complaint",
        "text",
        lambda r: "no" if all(r.good) else "yes",
        do="(say|tell me|check) (whether|if) there is any complaint, yes or no",
        zh="判断有没有抱怨，回答yes或no",
    ),
    Operation(
        "any_praise",
        "text",
        lambda r: "true" if any(r.good) else "false",
        do="(say|tell me|check) (whether|if) anything is praised, true or false",
    ),
    Operation(
        "first_is_good",
        "text",
        lambda r: "good" if r.good[0] else "bad",
        do="(say|tell me) (whether|if) the first aspect is judged good or bad",
    ),
    Operation(
        "last_is_good",
        "text",
        lambda r: "good" if r.good[1] else "bad",
        do="(say|tell me) (whether|if) the last aspect is judged good or bad",
    ),
    Operation(
        "product",
        "text",
        lambda r: r.product,
        what="(the product|what was bought), (one word|in one word)",
        zh="给出商品（一个单词）",
    ),
    Operation(
        "product_plural",
        "text",
        lambda r: words.plural(r.product),
        what="the product in the plural, one word",
    ),
    Operation(
        "first_aspect", "text", lambda r: r.aspects[0], what="the first aspect that is judged, one word"
    ),
    Operation("last_aspect", "text", lambda r: r.aspects[1], what="the last aspect that is judged, one word"),
    Operation(
        "aspects",
        "list",
        lambda r: r.aspects,
        what="(the two aspects that are judged|both aspects that are judged), in order",
        zh="按顺序列出评价的两个方面",
    ),
    Operation(
        "praised",
        "list",
        lambda r: r.liked(True) or ("none",),
        what="(the aspects that are praised|what the customer liked), or none",
    ),
    Operation(
        "blamed",
        "list",
        lambda r: r.liked(False) or ("none",),
        what="(the aspects that are criticised|what the customer disliked), or none",
    ),
    Operation(
        "count_praised",
        "count",
        lambda r: sum(r.good),
        do="count the aspects that are praised",
        what="how many aspects are praised",
    ),
    Operation(
        "count_blamed",
        "count",
        lambda r: 2 - sum(r.good),
        do="count the aspects that are criticised",
        what="how many aspects are criticised",
    ),
    Operation(
        "adjectives",
        "list",
        lambda r: r.adjectives,
        what="the (words|judgements) used for the two aspects, in order",
    ),
    Operation(
        "first_judgement",
        "text",
        lambda r: r.adjectives[0],
        what="the (word or words|judgement) used for the first aspect",
    ),
    Operation(
        "aspects_sorted",
        "list",
        lambda r: tuple(sorted(r.aspects)),
        what="the two aspects in alphabetical order",
    ),
    Operation(
        "product_and_mood",
        "list",
        lambda r: (r.product, r.sentiment),
        what="(the product and the sentiment|product, then sentiment), the sentiment as positive, negative or mixed",
    ),
    Operation(
        "json",
        "block",
        lambda r: json.dumps({"product": r.product, "sentiment": r.sentiment}),
        do="(write|give) a JSON object with product and sentiment (positive, negative or mixed)",
        zh="输出含product和sentiment（positive、negative或mixed）的JSON",
    ),
    Operation(
        "json_aspects",
        "block",
        lambda r: json.dumps({a: "good" if g else "bad" for a, g in zip(r.aspects, r.good, strict=True)}),
        do="(write|give) a JSON object that maps each aspect to good or bad",
    ),
    Operation(
        "json_booleans",
        "block",
        lambda r: json.dumps(dict(zip(r.aspects, r.good, strict=True))),
        do="(write|give) a JSON object that maps each aspect to true if it is praised, else false",
    ),
    Operation(
        "csv",
        "block",
        lambda r: "\n".join(f"{a},{'good' if g else 'bad'}" for a, g in zip(r.aspects, r.good, strict=True)),
        do="(write|give) one CSV line per aspect: the aspect and good or bad, no header",
    ),
    Operation(
        "tag",
        "token",
        lambda r: f"#{r.product}_{r.sentiment}",
        do="(make|write) a hashtag: the product, an underscore, and positive, negative or mixed",
    ),
    Operation(
        "summary",
        "prose",
        lambda r: f"{r.verdict(0)}. {r.verdict(1)}.",
        do="(drop|remove) the opening and (split|break) the judgement into two sentences, one per aspect, without and or but",
    ),
    Operation(
        "short_summary",
        "prose",
        lambda r: (
            f"{r.product.capitalize()}: {r.aspects[0]} {'good' if r.good[0] else 'bad'}, {r.aspects[1]} {'good' if r.good[1] else 'bad'}."
        ),
        do="(summarise|sum up) it as 'Product: aspect good/bad, aspect good/bad.'",
    ),
    Operation(
        "reply",
        "prose",
        _by_sentiment(
            "Thank you for your kind words!", "We are very sorry.", "Thank you, we will do better."
        ),
        do="(reply|answer) for the shop: 'Thank you for your kind words!' if positive, 'We are very sorry.' if negative, 'Thank you, we will do better.' if mixed",
    ),
    Operation(
        "apology",
        "prose",
        lambda r: (
            f"We are sorry about the {' and the '.join(r.liked(False))}." if r.liked(False) else "Thank you!"
        ),
        do="(apologise|write an apology) for what is criticised: 'We are sorry about the X (and the Y).', or 'Thank you!' if nothing is",
    ),
    Operation(
        "thanks",
        "prose",
        lambda r: f"Thank you for buying our {r.product}!",
        do="(thank|send thanks to) the customer: 'Thank you for buying our PRODUCT!'",
    ),
    Operation(
        "recommend",
        "prose",
        lambda r: f"I {'would' if all(r.good) else 'would not'} recommend this {r.product}.",
        do="(write|say) 'I would recommend this PRODUCT.' if everything is praised, otherwise with would not",
    ),
    Operation(
        "title",
        "prose",
        lambda r: (
            f"{ {'positive': 'Great', 'negative': 'Terrible', 'mixed': 'Average'}[r.sentiment] } {r.product}"
        ),
        do="(write|give) a title: Great, Terrible or Average (for positive, negative, mixed) and the product",
    ),
    Operation(
        "route",
        "text",
        lambda r: "praise team" if all(r.good) else r.aspects[r.good.index(False)] + " team",
        do="(route|assign) it: 'praise team' if all is good, otherwise the first criticised aspect followed by 'team'",
    ),
)

# --- messages ------------------------------------------------------------------------------------------------------------

_REQUESTS: dict[str, tuple[str, str, str]] = {  # base form: past participle, thing, topic
    "send me the report": ("sent", "report", "work"),
    "check the invoice": ("checked", "invoice", "money"),
    "pay the bill": ("paid", "bill", "money"),
    "book the hotel": ("booked", "hotel", "travel"),
    "buy the tickets": ("bought", "tickets", "travel"),
    "clean the kitchen": ("cleaned", "kitchen", "home"),
    "water the plants": ("watered", "plants", "home"),
    "fix the printer": ("fixed", "printer", "work"),
    "call the doctor": ("called", "doctor", "health"),
    "wash the car": ("washed", "car", "home"),
    "sign the contract": ("signed", "contract", "work"),
    "read the letter": ("read", "letter", "work"),
    "pack the suitcase": ("packed", "suitcase", "travel"),
    "collect the medicine": ("collected", "medicine", "health"),
    "feed the cat": ("fed", "cat", "home"),
}


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    request: str  # "send me the report"
    day: str
    casual: bool

    @property
    def done(self) -> str:
        return _REQUESTS[self.request][0]

    @property
    def thing(self) -> str:
        return _REQUESTS[self.request][1]

    @property
    def topic(self) -> str:
        return _REQUESTS[self.request][2]

    @property
    def verb(self) -> str:
        return self.request.split()[0]


def _make_message(rng: random.Random) -> tuple[Message, str]:
    m = Message(
        rng.choice(words.FIRST_NAMES),
        rng.choice(tuple(_REQUESTS)),
        rng.choice(words.WEEKDAYS),
        rng.random() < 0.5,
    )
    if m.casual:
        return m, rng.choice(
            (
                f"Hey {m.name}, can you {m.request} by {m.day}?",
                f"Hi {m.name}! Gotta ask you to {m.request} by {m.day}.",
            )
        )
    return m, f"Dear {m.name}, I would be grateful if you could {m.request} by {m.day}."


def _day(m: Message, shift: int) -> str:
    return words.WEEKDAYS[(words.WEEKDAYS.index(m.day) + shift) % 7]


_MESSAGE = "(the message|it|the request)"
_MESSAGE_OPERATIONS = (
    Operation(
        "formal",
        "prose",
        lambda m: f"Dear {m.name}, could you please {m.request} by {m.day}?",
        do=f"(rewrite|write) {_MESSAGE} formally: 'Dear NAME, could you please ... by DAY?'",
    ),
    Operation(
        "casual",
        "prose",
        lambda m: f"Hey {m.name}, can you {m.request} by {m.day}?",
        do=f"(rewrite|write) {_MESSAGE} casually: 'Hey NAME, can you ... by DAY?'",
    ),
    Operation(
        "imperative",
        "prose",
        lambda m: f"{m.request.capitalize()} by {m.day}.",
        do=f"(boil down|reduce) {_MESSAGE} to a plain order, without name or greeting, ending in a full stop",
    ),
    Operation(
        "polite",
        "prose",
        lambda m: f"Please {m.request} by {m.day}.",
        do=f"(boil down|reduce) {_MESSAGE} to 'Please ... by DAY.' without the name",
    ),
    Operation(
        "pirate",
        "prose",
        lambda m: f"Ahoy {m.name}, {m.request} by {m.day}, or walk the plank!",
        do=f"(rewrite|say) {_MESSAGE} like a pirate: 'Ahoy NAME, ... by DAY, or walk the plank!'",
    ),
    Operation(
        "king",
        "prose",
        lambda m: f"Hear me, {m.name}: thou shalt {m.request} by {m.day}.".replace(" me the", " us the"),
        do="(speak|say it) as a king: 'Hear me, NAME: thou shalt ... by DAY.', with us in place of me in the request",
    ),
    Operation(
        "must",
        "prose",
        lambda m: f"{m.name} must {m.request} by {m.day}.",
        do=f"(rewrite|report) {_MESSAGE} as 'NAME must ... by DAY.'",
    ),
    Operation(
        "accept",
        "prose",
        lambda m: f"Sure, it will be done by {m.day}.",
        do="(reply|answer) 'Sure, it will be done by DAY.'",
    ),
    Operation(
        "decline",
        "prose",
        lambda m: f"Sorry, I have no time on {m.day}.",
        do="(decline|refuse|say no): 'Sorry, I have no time on DAY.'",
    ),
    Operation(
        "next_day",
        "prose",
        lambda m: f"Is {_day(m, 1)} also fine?",
        do="(ask|reply) whether the day after is fine too: 'Is WEEKDAY also fine?'",
    ),
    Operation(
        "done",
        "prose",
        lambda m: f"I have {m.done} the {m.thing}.",
        do="(reply|report) that it is done: 'I have PARTICIPLE the THING.'",
    ),
    Operation(
        "passive",
        "prose",
        lambda m: f"The {m.thing} must be {m.done} by {m.day}.",
        do="(rewrite|put) the request in the passive: 'The THING must be PARTICIPLE by DAY.'",
    ),
    Operation(
        "reminder",
        "prose",
        lambda m: f"Reminder: {m.thing}, {m.day}.",
        do="(make|write) a reminder: 'Reminder: THING, DAY.'",
    ),
    Operation(
        "question",
        "prose",
        lambda m: f"Has {m.name} {m.done} the {m.thing}?",
        do="(ask|write) whether the person has done it: 'Has NAME PARTICIPLE the THING?'",
    ),
    Operation(
        "signed",
        "prose",
        lambda m: f"{m.request.capitalize()} by {m.day}. Thanks, Robin",
        do="(reduce|cut) it to an order with the day and add 'Thanks, Robin'",
    ),
    Operation(
        "subject_line",
        "prose",
        lambda m: f"{m.thing.capitalize()} by {m.day}",
        do="(write|give) an e-mail subject line: the thing, capitalised, 'by' and the day",
    ),
    Operation(
        "spanish",
        "prose",
        lambda m: f"Hola, {m.name}, ¡hasta el {words.WEEKDAYS_IN['Spanish'][words.WEEKDAYS.index(m.day)]}!",
        do="(reply|say) in Spanish: 'Hola, NAME, ¡hasta el DAY!' with the day in Spanish",
    ),
    Operation(
        "german",
        "prose",
        lambda m: f"Hallo {m.name}, bis {words.WEEKDAYS_IN['German'][words.WEEKDAYS.index(m.day)]}!",
        do="(reply|say) in German: 'Hallo NAME, bis DAY!' with the day in German",
    ),
    Operation(
        "french",
        "prose",
        lambda m: f"Bonjour {m.name}, à {words.WEEKDAYS_IN['French'][words.WEEKDAYS.index(m.day)]} !",
        do="(reply|say) in French: 'Bonjour NAME, à DAY !' with the day in French",
    ),
    Operation(
        "name",
        "text",
        lambda m: m.name,
        what="(the name of the person addressed|who is addressed)",
        zh="给出收信人的名字",
    ),
    Operation(
        "day", "text", lambda m: m.day, what="(the deadline|the day it is due)", zh="给出截止日（英文星期）"
    ),
    Operation("day_short", "text", lambda m: m.day[:3], what="the day, cut to its first three letters"),
    Operation("day_after", "text", lambda m: _day(m, 1), what="the weekday after the deadline"),
    Operation("day_before", "text", lambda m: _day(m, -1), what="the weekday before the deadline"),
    Operation(
        "day_chinese",
        "token",
        lambda m: words.WEEKDAYS_IN["Chinese"][words.WEEKDAYS.index(m.day)],
        what="the deadline in Chinese, as 星期 and the number",
        zh="用中文给出截止日是星期几",
    ),
    Operation(
        "verb", "text", lambda m: m.verb, what="(the verb of the request|what is to be done, as one verb)"
    ),
    Operation(
        "participle",
        "text",
        lambda m: m.done,
        what="the past participle of the (verb of the request|requested action)",
    ),
    Operation(
        "thing",
        "text",
        lambda m: m.thing,
        what="(the thing it is about|the object of the request), one word",
        zh="给出所涉及的东西（一个英文单词）",
    ),
    Operation(
        "task",
        "text",
        lambda m: m.request,
        what="(the request itself|what is to be done), without name, greeting or day",
    ),
    Operation(
        "topic",
        "text",
        lambda m: m.topic,
        do="(classify|sort) the request: work, money, travel, home or health (printer, report, contract and letter are work)",
    ),
    Operation(
        "topic_upper",
        "token",
        lambda m: f"[{m.topic.upper()}]",
        do="(give|output) the topic (work, money, travel, home or health) in capitals within square brackets; printer, report, contract and letter are work",
    ),
    Operation(
        "tone",
        "text",
        lambda m: "casual" if m.casual else "formal",
        do="(say|tell me|classify) the tone: casual or formal",
        what="the tone, casual or formal",
        zh="判断语气：casual还是formal",
    ),
    Operation(
        "tone_label",
        "token",
        lambda m: "1" if m.casual else "0",
        do="(output|answer) 1 for a casual message and 0 for a formal one",
    ),
    Operation(
        "weekend",
        "text",
        lambda m: "yes" if m.day in ("Saturday", "Sunday") else "no",
        do="(say|tell me|check) (whether|if) the deadline falls on a weekend, yes or no",
    ),
    Operation(
        "early",
        "text",
        lambda m: "early" if words.WEEKDAYS.index(m.day) < 3 else "late",
        do="(label|classify) the deadline: early (Monday to Wednesday) or late (Thursday to Sunday)",
    ),
    Operation(
        "name_and_day", "list", lambda m: (m.name, m.day), what="(the name and the day|name, then day)"
    ),
    Operation(
        "thing_day_name",
        "list",
        lambda m: (m.thing, m.day, m.name),
        what="(the thing, the day and the name|thing, day, name), in this order",
    ),
    Operation(
        "verb_and_thing",
        "list",
        lambda m: (m.verb, m.thing),
        what="(the verb and the thing|the verb of the request and its object), one word each",
    ),
    Operation(
        "json",
        "block",
        lambda m: json.dumps({"to": m.name, "task": m.request, "due": m.day}),
        do="(write|give) a JSON object with to (the name), task (the request) and due (the day)",
        zh="输出含to、task、due的JSON对象",
    ),
    Operation(
        "todo",
        "block",
        lambda m: f"- [ ] {m.request} ({m.day})",
        do="(write|make) a Markdown to-do item with an unticked box, the request and the day in parentheses",
    ),
    Operation(
        "yaml",
        "block",
        lambda m: f"who: {m.name}\nwhen: {m.day}",
        do="(write|give) two YAML lines, who (the name) and when (the day)",
    ),
    Operation(
        "python_call",
        "block",
        lambda m: f'remind("{m.name}", "{m.thing}", "{m.day}")',
        do="(write|give) a Python call of remind with the name, the thing and the day as strings in double quotes",
    ),
    Operation(
        "csv",
        "block",
        lambda m: f"{m.name},{m.thing},{m.day}",
        do="(write|give) a CSV row of name, thing and day, no spaces after the commas",
    ),
)

KINDS = (
    Kind("review", "(a customer review|a product review|a short review)", _make_review, _REVIEW_OPERATIONS),
    Kind(
        "message",
        "(a short message|a message with a request|a request to somebody)",
        _make_message,
        _MESSAGE_OPERATIONS,
    ),
)
