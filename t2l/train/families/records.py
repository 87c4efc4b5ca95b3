# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Structured data about people and goods: key-value records and contact lines."""

import json
import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation


@dataclass(frozen=True, slots=True)
class Person:
    first: str
    last: str
    age: int
    city: str
    job: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        return (("name", self.name), ("age", str(self.age)), ("city", self.city), ("job", self.job))


def _person(rng: random.Random) -> Person:
    return Person(
        rng.choice(words.FIRST_NAMES),
        rng.choice(words.LAST_NAMES),
        rng.randint(18, 79),
        rng.choice(words.CITIES),
        rng.choice(words.JOBS),
    )


def _make_record(rng: random.Random) -> tuple[Person, str]:
    person = _person(rng)
    return person, rng.choice(("\n", "\n", "; ")).join(f"{key}: {value}" for key, value in person.rows)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_RECORD_OPERATIONS = (
    Operation("name", "text", lambda p: p.name, what="(the full name|the person's name)", zh="给出姓名"),
    Operation(
        "first_name",
        "text",
        lambda p: p.first,
        what="(the first name|the given name)( only|)",
        zh="只给出名字（不含姓）",
    ),
    Operation(
        "last_name",
        "text",
        lambda p: p.last,
        what="(the last name|the surname|the family name)( only|)",
        zh="只给出姓氏",
    ),
    Operation("age", "count", lambda p: p.age, what="(the age|how old the person is)", zh="给出年龄"),
    Operation("city", "text", lambda p: p.city, what="(the city|where the person lives)", zh="给出城市"),
    Operation(
        "job", "text", lambda p: p.job, what="(the job|the profession|what the person does)", zh="给出职业"
    ),
    Operation(
        "age_next_year",
        "count",
        lambda p: p.age + 1,
        what="the age (next year|one year from now)",
        do="add one to the age",
        steps=lambda p: f"{p.age} + 1 = {p.age + 1}",
    ),
    Operation(
        "age_in_ten",
        "count",
        lambda p: p.age + 10,
        what="the age (in ten years|ten years from now)",
        steps=lambda p: f"{p.age} + 10 = {p.age + 10}",
    ),
    Operation(
        "years_to_hundred",
        "count",
        lambda p: 100 - p.age,
        what="(how many years are missing to 100|the years until the person is 100)",
        steps=lambda p: f"100 - {p.age} = {100 - p.age}",
    ),
    Operation(
        "birth_year",
        "integer",
        lambda p: 2020 - p.age,
        what="(the birth year, as 2020 minus the age|the year of birth if it is 2020 and the birthday is over)",
        steps=lambda p: f"2020 - {p.age} = {2020 - p.age}",
    ),
    Operation(
        "initials",
        "token",
        lambda p: p.first[0] + p.last[0],
        what="(the initials|the person's initials), without (dots|full stops)",
        zh="给出姓名首字母缩写",
    ),
    Operation(
        "initial_dot",
        "token",
        lambda p: f"{p.first[0]}. {p.last}",
        what="(the name with the first name cut to an initial and a dot|the initial of the first name with a dot, then the last name)",
    ),
    Operation(
        "last_first",
        "text",
        lambda p: f"{p.last}, {p.first}",
        do="(write|give) the name as last name, comma, first name",
        what="the name in the form 'Last, First'",
    ),
    Operation(
        "username",
        "token",
        lambda p: f"{p.first[0]}{p.last}".lower(),
        do="(make|build) a username: first initial plus last name, all in lower case",
    ),
    Operation(
        "email",
        "token",
        lambda p: f"{p.first}.{p.last}@example.com".lower(),
        do="(make|build) an e-mail address first.last@example.com from the name, in lower case",
    ),
    Operation("job_plural", "text", lambda p: words.plural(p.job), what="the job in the plural"),
    Operation(
        "over_forty",
        "text",
        lambda p: "yes" if p.age > 40 else "no",
        do="(say|tell me|check) (whether|if) the person is (older than|over) 40, yes or no",
    ),
    Operation(
        "age_group",
        "text",
        lambda p: "young" if p.age < 30 else "middle" if p.age < 60 else "senior",
        do="(classify|label) the age: young (under 30), middle (30 to 59) or senior (60 and up)|(output|answer) young below 30, middle from 30 to 59, senior from 60",
    ),
    Operation(
        "age_letter",
        "token",
        lambda p: "A" if p.age < 50 else "B",
        do="(answer|output) A for people under 50 and B for people of 50 or (more|older)",
    ),
    Operation(
        "decade",
        "token",
        lambda p: f"{p.age // 10 * 10}s" if p.age >= 20 else "teens",
        do="(give|write) the decade of the age, such as 30s (or teens below 20|, and teens under 20)",
    ),
    Operation(
        "values",
        "list",
        lambda p: tuple(v for _, v in p.rows),
        what="(the values without their keys|only the values), in order",
        do="(list|extract) the values without (the |their |)keys, in order",
        zh="按顺序列出各字段的值",
    ),
    Operation(
        "name_and_city", "list", lambda p: (p.name, p.city), what="(the name and the city|name and city)"
    ),
    Operation(
        "job_and_age",
        "list",
        lambda p: (p.job, str(p.age)),
        what="(the job, then the age|job first and age second)",
    ),
    Operation(
        "city_job_first",
        "list",
        lambda p: (p.city, p.job, p.first),
        what="(the city, the job and the first name, in this order|city, job, first name)",
    ),
    Operation(
        "json",
        "block",
        lambda p: json.dumps(
            {"name": p.name, "age": p.age, "city": p.city, "job": p.job}, ensure_ascii=False
        ),
        do="(convert|turn|rewrite) (it|the record) (to|into|as) (JSON|a JSON object), with the age as a number",
        zh="转换成JSON对象，年龄用数字",
    ),
    Operation(
        "json_short",
        "block",
        lambda p: json.dumps({"first": p.first, "last": p.last}, ensure_ascii=False),
        do="(write|give) a JSON object with the keys first and last for the two names",
    ),
    Operation(
        "csv_row",
        "block",
        lambda p: ",".join(v for _, v in p.rows),
        do="(convert|turn) (it|the record) (to|into) one CSV row, without header (or spaces|and without spaces after the commas)",
        zh="转换成一行CSV，不要表头",
    ),
    Operation(
        "csv",
        "block",
        lambda p: "name,age,city,job\n" + ",".join(v for _, v in p.rows),
        do="(convert|turn) (it|the record) (to|into) CSV with a header row",
    ),
    Operation(
        "xml",
        "block",
        lambda p: f"<person><name>{p.name}</name><city>{p.city}</city></person>",
        do="(write|give) an XML element person holding name and city elements, on one line",
    ),
    Operation(
        "toml",
        "block",
        lambda p: f'name = "{p.name}"\nage = {p.age}',
        do="(write|give) two TOML lines with the name as a string and the age as a number",
    ),
    Operation(
        "python_dict",
        "block",
        lambda p: repr({"name": p.name, "age": p.age}),
        do="(write|give) a Python dict with single quotes holding name and age, the age as a number",
    ),
    Operation(
        "sql_where",
        "block",
        lambda p: f"SELECT * FROM people WHERE city = '{p.city}';",
        do="(write|give) an SQL query that selects all columns from people where city is the one given, in single quotes",
    ),
    Operation(
        "sql_insert",
        "block",
        lambda p: f"INSERT INTO people VALUES ('{p.name}', {p.age});",
        do="(write|give) an SQL INSERT INTO people VALUES with name in single quotes and age",
    ),
    Operation(
        "bio",
        "prose",
        lambda p: f"{p.name} is {_a(p.job)} from {p.city}.",
        do="(write|make) one sentence: NAME is a JOB from CITY|(introduce|present) the person: full name, 'is a' or 'is an' job, 'from' city, full stop",
        zh="写一句英文介绍：NAME is a JOB from CITY.",
    ),
    Operation(
        "age_sentence",
        "prose",
        lambda p: f"{p.first} is {p.age} years old.",
        do="(write|make) one sentence with the first name and 'is N years old'",
    ),
    Operation(
        "greeting",
        "prose",
        lambda p: f"Hello {p.first}, how is {p.city}?",
        do="(greet|welcome) the person with 'Hello NAME, how is CITY?', using the first name",
    ),
    Operation(
        "formal",
        "prose",
        lambda p: f"Dear {p.first} {p.last},",
        do="(write|give) a formal letter opening: Dear, the full name, a comma",
    ),
    Operation(
        "spanish",
        "prose",
        lambda p: f"Me llamo {p.first} y vivo en {p.city}.",
        do="(let|have) the person speak Spanish: 'Me llamo FIRST NAME y vivo en CITY.'",
    ),
    Operation(
        "german",
        "prose",
        lambda p: f"Ich heiße {p.first} und wohne in {p.city}.",
        do="(let|have) the person speak German: 'Ich heiße FIRST NAME und wohne in CITY.'",
    ),
    Operation(
        "french",
        "prose",
        lambda p: f"Je m'appelle {p.first} et j'ai {p.age} ans.",
        do="(let|have) the person speak French: 'Je m'appelle FIRST NAME et j'ai AGE ans.'",
    ),
    Operation(
        "redacted",
        "block",
        lambda p: "\n".join(f"{k}: {'***' if k == 'name' else v}" for k, v in p.rows),
        do="(hide|mask|redact) the name with ***, keeping all four fields, one per line",
    ),
    Operation(
        "without_job",
        "block",
        lambda p: "\n".join(f"{k}: {v}" for k, v in p.rows[:-1]),
        do="(remove|delete|drop) the job field and (write|give) the other fields, one per line",
    ),
    Operation(
        "moved",
        "block",
        lambda p: "\n".join(f"{k}: {'Zurich' if k == 'city' else v}" for k, v in p.rows),
        do="(change|set) the city to Zurich and (write|give) all four fields, one per line",
    ),
)

# --- contact lines -------------------------------------------------------------------------------------------------------

_DOMAINS = ("mail.com", "post.org", "web.net", "example.com", "uni.edu", "shop.de", "home.fr", "work.io")


@dataclass(frozen=True, slots=True)
class Contact:
    first: str
    last: str
    user: str
    domain: str
    phone: str  # 555-0142

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"

    @property
    def email(self) -> str:
        return f"{self.user}@{self.domain}"


def _make_contact(rng: random.Random) -> tuple[Contact, str]:
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    user = rng.choice((f"{first}.{last}", f"{first}{rng.randint(1, 99)}", f"{first[0]}{last}")).lower()
    c = Contact(first, last, user, rng.choice(_DOMAINS), f"{rng.randint(200, 999)}-{rng.randint(1000, 9999)}")
    return c, rng.choice(
        (
            f"{c.name} <{c.email}>, {c.phone}",
            f"{c.name}, {c.email}, {c.phone}",
            f"{c.name} | {c.phone} | {c.email}",
        )
    )


_CONTACT_OPERATIONS = (
    Operation("name", "text", lambda c: c.name, what="(the full name|the person's name)", zh="给出姓名"),
    Operation("first_name", "text", lambda c: c.first, what="(the first name|the given name)( only|)"),
    Operation(
        "last_name", "text", lambda c: c.last, what="(the last name|the surname|the family name)( only|)"
    ),
    Operation("email", "token", lambda c: c.email, what="the (e-mail|email) address", zh="给出电子邮箱"),
    Operation(
        "phone",
        "token",
        lambda c: c.phone,
        what="the (phone|telephone) number(, as written|)",
        zh="给出电话号码",
    ),
    Operation(
        "phone_digits",
        "token",
        lambda c: c.phone.replace("-", ""),
        what="the (phone|telephone) number (as digits only|without the hyphen)",
    ),
    Operation(
        "phone_start",
        "token",
        lambda c: c.phone[:3],
        what="the (first three digits|digits before the hyphen) of the phone number",
    ),
    Operation("phone_end", "token", lambda c: c.phone[-4:], what="the last four digits of the phone number"),
    Operation(
        "phone_masked",
        "token",
        lambda c: f"***-{c.phone[-4:]}",
        do="(give|write) the phone number with its first three digits (replaced by|turned into) ***",
    ),
    Operation(
        "phone_link",
        "token",
        lambda c: f"tel:+1{c.phone.replace('-', '')}",
        do="(write|make) a phone link: tel:+1 and the digits without hyphen",
    ),
    Operation(
        "domain",
        "token",
        lambda c: c.domain,
        what="(the domain of the e-mail address|what stands after the @)",
        zh="给出邮箱的域名",
    ),
    Operation(
        "user",
        "token",
        lambda c: c.user,
        what="(the user part of the e-mail address|what stands before the @)",
        zh="给出邮箱@前面的部分",
    ),
    Operation(
        "suffix",
        "token",
        lambda c: c.domain.split(".")[1],
        what="(the top-level domain, without the dot|what follows the last dot of the address)",
    ),
    Operation(
        "provider",
        "text",
        lambda c: c.domain.split(".")[0],
        what="(the domain name without its ending|the part between the @ and the last dot)",
    ),
    Operation(
        "initials", "token", lambda c: c.first[0] + c.last[0], what="the initials, without (dots|full stops)"
    ),
    Operation(
        "last_first",
        "text",
        lambda c: f"{c.last}, {c.first}",
        do="(write|give) the name as last name, comma, first name",
        what="the name in the form 'Last, First'",
    ),
    Operation(
        "is_com",
        "text",
        lambda c: "yes" if c.domain.endswith(".com") else "no",
        do="(say|tell me|check) (whether|if) the e-mail address ends in .com, yes or no",
    ),
    Operation(
        "has_digits",
        "text",
        lambda c: "true" if any(x.isdigit() for x in c.user) else "false",
        do="(say|tell me|check) (whether|if) the part before the @ contains a digit, true or false",
    ),
    Operation(
        "new_domain",
        "token",
        lambda c: f"{c.user}@new.org",
        do="(give|write) the e-mail address with its domain (changed to|replaced by) new.org",
    ),
    Operation(
        "email_at",
        "text",
        lambda c: f"{c.user} at {c.domain}",
        do="(give|write) the e-mail address with the word at, between spaces, in place of @",
    ),
    Operation(
        "email_and_phone",
        "list",
        lambda c: (c.email, c.phone),
        what="(the e-mail address and the phone number|e-mail, then phone)",
    ),
    Operation(
        "phone_and_name",
        "list",
        lambda c: (c.phone, c.name),
        what="(the phone number, then the full name|phone first, then full name)",
    ),
    Operation(
        "all_parts",
        "list",
        lambda c: (c.first, c.last, c.email, c.phone),
        what="(the first name, last name, e-mail and phone, in this order|first name, last name, e-mail, phone)",
    ),
    Operation(
        "name_length",
        "count",
        lambda c: len(c.first),
        what="(the number of letters in the first name|how many letters the first name has)",
    ),
    Operation(
        "json",
        "block",
        lambda c: json.dumps({"name": c.name, "email": c.email}),
        do="(write|give) a JSON object with the keys name and email",
    ),
    Operation(
        "json_phone",
        "block",
        lambda c: json.dumps({"phone": c.phone, "last": c.last}),
        do="(write|give) a JSON object with phone first and last (the surname) second",
    ),
    Operation(
        "vcard",
        "block",
        lambda c: f"FN:{c.name}\nTEL:{c.phone}",
        do="(write|give) two vCard lines, FN: with the name and TEL: with the phone",
    ),
    Operation(
        "csv_row",
        "block",
        lambda c: f"{c.first},{c.last},{c.email}",
        do="(write|give) a CSV row of first name, last name, e-mail, no spaces after the commas",
    ),
    Operation(
        "markdown_link",
        "block",
        lambda c: f"[{c.name}](mailto:{c.email})",
        do="(write|give) a Markdown link: the name as text, mailto: and the address as target",
    ),
    Operation(
        "greeting",
        "prose",
        lambda c: f"Hi {c.first}!",
        do="(greet|say hi to) the person with 'Hi NAME!' using the first name",
    ),
    Operation(
        "formal",
        "prose",
        lambda c: f"Dear {c.first} {c.last},",
        do="(write|give) a formal letter opening: Dear, the full name, a comma",
    ),
    Operation(
        "call",
        "prose",
        lambda c: f"Call {c.first} at {c.phone}.",
        do="(write|make) the reminder 'Call FIRST NAME at PHONE.'",
    ),
    Operation(
        "write_to",
        "prose",
        lambda c: f"Please write to {c.email}.",
        do="(write|make) the sentence 'Please write to ADDRESS.' with the e-mail address",
    ),
    Operation(
        "spanish",
        "prose",
        lambda c: f"¡Hola, {c.first}!",
        do="(greet|say hello to) the person in Spanish: '¡Hola, NAME!', first name",
    ),
    Operation(
        "chinese",
        "prose",
        lambda c: f"你好，{c.first}！",
        do="(greet|say hello to) the person in Chinese: 你好，NAME！, first name",
        zh="用“你好，名字！”问候",
    ),
)

KINDS = (
    Kind(
        "record",
        "(a record of a person|a record with name, age, city and job|some fields about a person)",
        _make_record,
        _RECORD_OPERATIONS,
    ),
    Kind(
        "contact",
        "(a contact line|a name with e-mail and phone|contact details)",
        _make_contact,
        _CONTACT_OPERATIONS,
    ),
)
