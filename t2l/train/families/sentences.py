# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""One English sentence: taking it apart, and rewriting it (passive, negative, question, tense)."""

import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation


@dataclass(frozen=True, slots=True)
class Sentence:
    """The <subject> <verb> the <adjective> <object> <preposition> the <place>."""

    subject: str
    verb: str  # base form
    past: bool
    adjective: str
    object: str
    preposition: str
    place: str

    def write(
        self,
        *,
        past: bool | None = None,
        subject: str = "",
        adjective: str | None = None,
        object: str = "",
        place: str = "",
    ) -> str:
        past = self.past if past is None else past
        verb = words.VERBS[self.verb][0] if past else words.VERBS[self.verb][3]
        return (
            f"{subject or f'The {self.subject}'} {verb} {self.what(adjective, object)} {place or self.where}."
        )

    def what(self, adjective: str | None = None, object: str = "") -> str:
        adjective = self.adjective if adjective is None else adjective
        return f"the {adjective + ' ' if adjective else ''}{object or self.object}"

    @property
    def where(self) -> str:
        return f"{self.preposition} the {self.place}"

    @property
    def finite(self) -> str:
        return words.VERBS[self.verb][0] if self.past else words.VERBS[self.verb][3]

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(self.write()[:-1].split())


def _make(rng: random.Random) -> tuple[Sentence, str]:
    value = Sentence(
        rng.choice(words.JOBS), rng.choice(tuple(words.VERBS)), rng.random() < 0.5, rng.choice(words.ADJECTIVES),
        rng.choice([a for a in words.ANIMALS if a not in ("bee", "ant")]), rng.choice(("near", "behind", "by")), rng.choice(words.PLACES),
    )  # fmt: skip
    return value, value.write()


def _passive(s: Sentence) -> str:
    return f"The {s.adjective} {s.object} {'was' if s.past else 'is'} {words.VERBS[s.verb][1]} by the {s.subject} {s.where}."


def _negative(s: Sentence, auxiliary: str = "") -> str:
    return (
        f"The {s.subject} {auxiliary or ('did not' if s.past else 'does not')} {s.verb} {s.what()} {s.where}."
    )


def _question(s: Sentence) -> str:
    return f"{'Did' if s.past else 'Does'} the {s.subject} {s.verb} {s.what()} {s.where}?"


def _wh(s: Sentence, word: str) -> str:
    do = "did" if s.past else "does"
    return {
        "who": f"Who {s.finite} {s.what()} {s.where}?",
        "what": f"What {do} the {s.subject} {s.verb} {s.where}?",
        "where": f"Where {do} the {s.subject} {s.verb} {s.what()}?",
    }[word]


_SENTENCE = "(the sentence|it)"
_OPERATIONS = (
    # taking apart
    Operation(
        "subject",
        "text",
        lambda s: s.subject,
        what="(the person who acts, without the article|the job of the person|who does it, as one word)",
        zh="找出做动作的人（一个单词）",
    ),
    Operation(
        "verb",
        "text",
        lambda s: s.finite,
        what="(the verb as it stands|the verb, in the form used)",
        zh="找出动词",
    ),
    Operation(
        "verb_base",
        "text",
        lambda s: s.verb,
        what="(the base form of the verb|the infinitive of the verb, without to)",
        zh="给出动词原形",
    ),
    Operation(
        "verb_past",
        "text",
        lambda s: words.VERBS[s.verb][0],
        what="(the past tense of the verb|the verb in the simple past), one word",
    ),
    Operation(
        "verb_ing",
        "text",
        lambda s: words.VERBS[s.verb][2],
        what="(the -ing form|the present participle) of the verb",
    ),
    Operation("adjective", "text", lambda s: s.adjective, what="the adjective", zh="找出形容词"),
    Operation(
        "opposite",
        "text",
        lambda s: words.OPPOSITES.get(s.adjective),
        what="(the opposite|the antonym) of the adjective",
    ),
    Operation(
        "object",
        "text",
        lambda s: s.object,
        what="(the animal|which animal it is), (one word|without article or adjective)",
        zh="找出动物（一个单词）",
    ),
    Operation(
        "object_plural",
        "text",
        lambda s: words.plural(s.object),
        what="(the plural of the animal|the animal, in the plural form)",
    ),
    Operation(
        "object_phrase",
        "text",
        lambda s: s.what(),
        what="the (whole object|object phrase), with article and adjective",
    ),
    Operation(
        "place",
        "text",
        lambda s: s.place,
        what="(the place|the location), (one word|without the article)",
        zh="找出地点（一个单词）",
    ),
    Operation(
        "where",
        "text",
        lambda s: s.where,
        what="the (phrase that says where|place phrase with its preposition)",
    ),
    Operation("preposition", "text", lambda s: s.preposition, what="the preposition"),
    Operation(
        "last_word",
        "text",
        lambda s: s.tokens[-1],
        what="the last word, without the full stop",
        zh="给出最后一个单词，不要句号",
    ),
    Operation("second_word", "text", lambda s: s.tokens[1], what="(the second word|word number two)"),
    Operation("third_word", "text", lambda s: s.tokens[2], what="(the third word|word number three)"),
    Operation(
        "longest_word",
        "text",
        lambda s: max(s.tokens, key=len),
        what="the longest word, the first one if several are equally long",
    ),
    Operation(
        "nouns",
        "list",
        lambda s: (s.subject, s.object, s.place),
        what="(the three nouns|all nouns), (in order|in the order of the sentence)",
        do="(list|extract) the (three |)nouns in order",
        zh="按顺序列出三个名词",
    ),
    Operation(
        "nouns_sorted",
        "list",
        lambda s: tuple(sorted((s.subject, s.object, s.place))),
        what="(the three nouns|all nouns) in alphabetical order",
    ),
    Operation(
        "who_and_where",
        "list",
        lambda s: (s.subject, s.place),
        what="(the person and the place|who acts and the place), one word each",
    ),
    Operation("last_two", "list", lambda s: s.tokens[-2:], what="the last two words, without the full stop"),
    Operation("first_three", "list", lambda s: s.tokens[:3], what="the first three words"),
    Operation(
        "subject_length",
        "count",
        lambda s: len(s.subject),
        what="(the number of letters in the second word|how many letters the second word has)",
    ),
    Operation(
        "tense",
        "text",
        lambda s: "past" if s.past else "present",
        do="(say|tell me|decide) (whether|if) (the sentence|it) is in the past or the present",
        what="the tense, past or present",
        zh="判断时态：past或present",
    ),
    Operation(
        "tense_label",
        "token",
        lambda s: "P" if s.past else "N",
        do="(label|mark) past tense with P and present tense with N|(answer|reply) P for the past tense, N for the present",
    ),
    Operation(
        "near_yes_no",
        "text",
        lambda s: "yes" if s.preposition == "near" else "no",
        do="(say|tell me|check) (whether|if) the sentence (contains|has) the word near, yes or no",
    ),
    Operation(
        "good_size",
        "text",
        lambda s: {"big": "size", "small": "size", "tall": "size", "short": "size"}.get(s.adjective, "other"),
        do="(answer|output) size if the adjective is big, small, tall or short, else other",
    ),
    # rewriting
    Operation(
        "passive",
        "prose",
        _passive,
        do=f"(rewrite {_SENTENCE} in|put {_SENTENCE} in|turn {_SENTENCE} into) the passive( voice|), with by before the person and the place at the end",
        zh="改成被动语态（by短语放在地点前）",
    ),
    Operation(
        "negative",
        "prose",
        _negative,
        do=f"(negate {_SENTENCE}|make {_SENTENCE} negative) with (did not or does not|does not or did not)|(rewrite|turn) {_SENTENCE} into the negative, (in full, no contraction|no contractions)",
        zh="改成否定句，不用缩写",
    ),
    Operation(
        "negative_short",
        "prose",
        lambda s: _negative(s, "didn't" if s.past else "doesn't"),
        do=f"(negate {_SENTENCE}|make {_SENTENCE} negative) with (didn't or doesn't|a contraction)",
    ),
    Operation(
        "never",
        "prose",
        lambda s: f"The {s.subject} never {s.finite} {s.what()} {s.where}.",
        do="(insert|add|put) (the word |)never (before|in front of) the verb",
    ),
    Operation(
        "question",
        "prose",
        _question,
        do=f"(turn|change|rewrite) {_SENTENCE} (into|as) a yes/no question( with Did or Does|)",
        zh="改成一般疑问句",
    ),
    Operation(
        "who",
        "prose",
        lambda s: _wh(s, "who"),
        do="(ask|write) the question that asks for the person, starting with Who|(make|form) a Who question to which the person is the answer",
    ),
    Operation(
        "what",
        "prose",
        lambda s: _wh(s, "what"),
        do="(ask|write) the question that asks for the animal, starting with What|(make|form) a What question to which the animal is the answer",
    ),
    Operation(
        "where_question",
        "prose",
        lambda s: _wh(s, "where"),
        do="(ask|write) the question that asks for the place, starting with Where|(make|form) a Where question to which the place is the answer",
    ),
    Operation(
        "to_past",
        "prose",
        lambda s: s.write(past=True),
        do=f"(put|rewrite|write) {_SENTENCE} in the (simple |)past (tense|), (leaving it as it is|unchanged) if it already is",
        zh="改成过去时",
    ),
    Operation(
        "to_present",
        "prose",
        lambda s: s.write(past=False),
        do=f"(put|rewrite|write) {_SENTENCE} in the (simple |)present (tense|), (leaving it as it is|unchanged) if it already is",
        zh="改成现在时",
    ),
    Operation(
        "to_future",
        "prose",
        lambda s: f"The {s.subject} will {s.verb} {s.what()} {s.where}.",
        do=f"(put|rewrite|write) {_SENTENCE} in the future (tense |)with will",
        zh="用will改成将来时",
    ),
    Operation(
        "progressive",
        "prose",
        lambda s: (
            f"The {s.subject} {'was' if s.past else 'is'} {words.VERBS[s.verb][2]} {s.what()} {s.where}."
        ),
        do=f"(put|rewrite|write) {_SENTENCE} with is or was (and|plus) the -ing form, (keeping past or present|without changing the time)",
    ),
    Operation(
        "modal",
        "prose",
        lambda s: f"The {s.subject} must {s.verb} {s.what()} {s.where}.",
        do=f"(rewrite|write) {_SENTENCE} with must before the verb|(say|write) that the person must do it",
    ),
    Operation(
        "they",
        "prose",
        lambda s: f"They {words.VERBS[s.verb][0] if s.past else s.verb} {s.what()} {s.where}.",
        do="(replace the person with|swap the person for) They and adapt the verb (if needed|)|(make|let) They be the subject, (adapting|with the right form of) the verb",
    ),
    Operation(
        "it_object",
        "prose",
        lambda s: f"The {s.subject} {s.finite} it {s.where}.",
        do="(replace the animal and all that describes it with|swap the animal and all that describes it for) the pronoun it",
    ),
    Operation(
        "there",
        "prose",
        lambda s: f"The {s.subject} {s.finite} {s.what()} there.",
        do="(replace the place phrase with|swap the place phrase for) there|(shorten|rewrite) it with there in place of the location",
    ),
    Operation(
        "no_adjective",
        "prose",
        lambda s: s.write(adjective=""),
        do="(remove|delete|leave out|drop) the adjective( and keep the rest|)",
        zh="去掉形容词",
    ),
    Operation(
        "opposite_adjective",
        "prose",
        lambda s: s.write(adjective=words.OPPOSITES[s.adjective]) if s.adjective in words.OPPOSITES else None,
        do="(replace the adjective with|swap the adjective for) its (opposite|antonym)( and keep the rest|)",
        zh="把形容词换成反义词",
    ),
    Operation(
        "replace_animal",
        "prose",
        lambda s: s.write(object="dragon"),
        do="(replace the animal with|swap the animal for) (the word |)dragon|(put|write) dragon in place of the animal",
    ),
    Operation(
        "replace_place",
        "prose",
        lambda s: s.write(place=f"{s.preposition} the moon"),
        do="(replace the place with|swap the place for) (the word |)moon|(put|write) moon in place of the location",
    ),
    Operation(
        "replace_person",
        "prose",
        lambda s: s.write(subject="The robot"),
        do="(replace the person with|swap the person for) (the word |)robot|(put|write) robot in place of the person",
    ),
    Operation(
        "swap_roles",
        "prose",
        lambda s: f"The {s.adjective} {s.object} {s.finite} the {s.subject} {s.where}.",
        do="(swap|exchange) the roles, so that the animal with its adjective acts on the person",
    ),
    Operation(
        "place_first",
        "prose",
        lambda s: f"{s.where.capitalize()}, the {s.subject} {s.finite} {s.what()}.",
        do="(move|put) the place phrase to the (front|beginning|start), (followed by|with) a comma",
    ),
    Operation(
        "exclaim",
        "prose",
        lambda s: s.write()[:-1] + "!",
        do="(replace the full stop with|swap the full stop for) an exclamation mark|(end|finish) the sentence with ! in place of the full stop",
    ),
    Operation(
        "title",
        "prose",
        lambda s: s.write()[:-1].title(),
        do="(make|write) a title: capitalise every word and (drop|remove) the full stop",
    ),
    Operation(
        "lower",
        "prose",
        lambda s: s.write()[:-1].lower(),
        do="(write|put) everything in (lower case|small letters) and (drop|remove) the full stop",
    ),
    Operation(
        "reverse_words",
        "prose",
        lambda s: " ".join(reversed(s.tokens)),
        do="(reverse|turn round) the order of the words and (drop|remove) the full stop",
        zh="把单词顺序倒过来，去掉句号",
    ),
    Operation(
        "reported",
        "prose",
        lambda s: f"She says that the {s.write()[4:]}",
        do="(report|repeat) it after 'She says that', with a small the|(begin|start) with 'She says that' and (continue|go on) with the sentence, in lower case",
    ),
    Operation(
        "yesterday",
        "prose",
        lambda s: f"Yesterday, the {s.write(past=True)[4:]}",
        do="(begin|start) with 'Yesterday,' and (use|put the verb in) the past tense",
    ),
    Operation(
        "because",
        "prose",
        lambda s: f"{s.write()[:-1]} because it was late.",
        do="(add|append) 'because it was late' (before the full stop|at the end)",
    ),
    Operation(
        "i_think",
        "prose",
        lambda s: f"I think the {s.write()[4:]}",
        do="(begin|start|open) with 'I think' (followed by|and) the sentence, with a small the",
    ),
    Operation(
        "pirate",
        "prose",
        lambda s: f"Arr, the {s.write()[4:-1]}, matey!",
        do="(talk|write) like a pirate: 'Arr,' then the sentence with a small the, then ', matey!' in place of the full stop",
    ),
    Operation(
        "json_roles",
        "block",
        lambda s: f'{{"who": "{s.subject}", "what": "{s.object}", "where": "{s.place}"}}',
        do="(extract|write|give) a JSON object with who (the person), what (the animal) and where (the place), one word each",
    ),
    Operation(
        "yaml_roles",
        "block",
        lambda s: f"who: {s.subject}\nwhat: {s.object}\nwhere: {s.place}",
        do="(extract|write|give) three YAML lines: who (the person), what (the animal), where (the place), one word each",
    ),
    Operation(
        "call",
        "block",
        lambda s: f'{s.verb}("{s.subject}", "{s.object}")',
        do="(write|give) it as a function call: the base verb as function, person and animal as string arguments in double quotes",
    ),
    Operation(
        "tagged",
        "block",
        lambda s: s.write().replace(f" {s.object} ", f" <b>{s.object}</b> "),
        do="(copy|repeat) the sentence with the animal in <b> tags|put <b> and </b> round the animal in the sentence",
    ),
)

KINDS = (Kind("sentence", "(an English sentence|a sentence|one short sentence)", _make, _OPERATIONS),)
