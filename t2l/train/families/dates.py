
"""Dates, written with their weekday so that no calendar has to be computed."""

import calendar
import datetime
import random

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation
from t2l.train.families.numerals import english, ordinal

Date = datetime.date


def _month(d: Date) -> str:
    return words.MONTHS[d.month - 1]


def _weekday(d: Date, shift: int = 0) -> str:
    return words.WEEKDAYS[(d.weekday() + shift) % 7]


def _make(rng: random.Random) -> tuple[Date, str]:
    d = datetime.date(1990, 1, 1) + datetime.timedelta(days=rng.randrange(16000))
    if d.weekday() < 5 and rng.random() < 0.25:  # more weekends, for the operations that ask for them
        d += datetime.timedelta(days=5 - d.weekday())
    written = rng.choice((f"{d.day} {_month(d)} {d.year}", f"{_month(d)} {d.day}, {d.year}", d.isoformat()))
    return d, f"{_weekday(d)}, {written}"


def _later(d: Date, days: int) -> Date:
    return d + datetime.timedelta(days=days)


def _season(d: Date) -> str:
    return ("winter", "spring", "summer", "autumn")[d.month % 12 // 3]


_OPERATIONS = (
    Operation("day", "count", lambda d: d.day, what="(the day of the month|the day number)", zh="给出是几号"),
    Operation(
        "month_number",
        "count",
        lambda d: d.month,
        what="(the month as a number|the number of the month)",
        zh="给出月份数字",
    ),
    Operation("month_name", "text", _month, what="the (English |)name of the month"),
    Operation("month_short", "text", lambda d: _month(d)[:3], what="the month name cut to three letters"),
    Operation("year", "integer", lambda d: d.year, what="the year( only|)", zh="给出年份"),
    Operation("year_short", "token", lambda d: f"{d.year % 100:02}", what="the last two digits of the year"),
    Operation("next_year", "integer", lambda d: d.year + 1, what="the year after (the given one|this one)"),
    Operation(
        "century",
        "text",
        lambda d: "20th" if d.year <= 2000 else "21st",
        what="the century as an ordinal, 20th (up to the year 2000) or 21st (from 2001)",
    ),
    Operation("weekday", "text", _weekday, what="the (day of the week|weekday)"),
    Operation("weekday_short", "text", lambda d: _weekday(d)[:3], what="the weekday cut to three letters"),
    Operation(
        "weekday_next", "text", lambda d: _weekday(d, 1), what="the weekday of the (next|following) day"
    ),
    Operation(
        "weekday_before",
        "text",
        lambda d: _weekday(d, -1),
        what="the weekday of the (day before|previous day)",
    ),
    Operation(
        "month_next",
        "text",
        lambda d: words.MONTHS[d.month % 12],
        what="the name of the (next|following) month",
    ),
    Operation(
        "month_before",
        "text",
        lambda d: words.MONTHS[d.month - 2],
        what="the name of the (month before|previous month)",
    ),
    Operation(
        "weekend",
        "text",
        lambda d: "yes" if d.weekday() >= 5 else "no",
        do="(say|tell me|check) (whether|if) it is a Saturday or Sunday, yes or no",
        zh="判断是不是周末，回答yes或no",
    ),
    Operation(
        "weekend_label",
        "text",
        lambda d: "weekend" if d.weekday() >= 5 else "workday",
        do="(label|classify) the day: weekend (Saturday, Sunday) or workday",
    ),
    Operation(
        "half",
        "token",
        lambda d: "H1" if d.month <= 6 else "H2",
        do="(give|output) H1 for January to June and H2 for July to December",
    ),
    Operation(
        "quarter",
        "token",
        lambda d: f"Q{(d.month + 2) // 3}",
        what="the quarter (of the year|), Q1 to Q4",
        zh="给出季度（Q1到Q4）",
    ),
    Operation(
        "season",
        "text",
        _season,
        what="the season by month: winter from December, spring from March, summer from June, autumn from September",
    ),
    Operation(
        "leap",
        "text",
        lambda d: "leap year" if calendar.isleap(d.year) else "common year",
        do="(say|tell me|decide) (whether|if) the year is a 'leap year' or a 'common year'",
    ),
    Operation(
        "days_in_month",
        "count",
        lambda d: 30 if d.month in (4, 6, 9, 11) else 31 if d.month != 2 else None,
        what="(how many days the month has|the number of days in the month)",
    ),
    Operation(
        "before_2010",
        "text",
        lambda d: "true" if d.year < 2010 else "false",
        do="(say|tell me|check) (whether|if) it is before the year 2010, true or false",
    ),
    Operation(
        "first_half_month",
        "token",
        lambda d: "A" if d.day <= 15 else "B",
        do="(answer|output) A for days 1 to 15 of the month and B for later days",
    ),
    Operation(
        "parity",
        "text",
        lambda d: "even" if d.day % 2 == 0 else "odd",
        do="(say|tell me) (whether|if) the day of the month is even or odd",
    ),
    Operation(
        "iso",
        "token",
        lambda d: d.isoformat(),
        do="(rewrite|write) the date as (an ISO date|YYYY-MM-DD), without the weekday",
        zh="写成YYYY-MM-DD，不要星期",
    ),
    Operation(
        "compact",
        "token",
        lambda d: d.strftime("%Y%m%d"),
        do="(rewrite|write) the date as YYYYMMDD, without separators or weekday",
    ),
    Operation(
        "us",
        "token",
        lambda d: d.strftime("%m/%d/%Y"),
        do="(rewrite|write) the date in the (US format |form )MM/DD/YYYY, without the weekday",
    ),
    Operation(
        "british",
        "token",
        lambda d: d.strftime("%d/%m/%Y"),
        do="(rewrite|write) the date in the (British format |form )DD/MM/YYYY, without the weekday",
    ),
    Operation(
        "dotted",
        "token",
        lambda d: d.strftime("%d.%m.%Y"),
        do="(rewrite|write) the date as DD.MM.YYYY, without the weekday",
    ),
    Operation(
        "month_year",
        "text",
        lambda d: f"{_month(d)} {d.year}",
        what="(the month name and the year|month and year, the month as a word)",
    ),
    Operation(
        "year_month", "token", lambda d: d.strftime("%Y-%m"), do="(write|give) the year and month as YYYY-MM"
    ),
    Operation(
        "day_month",
        "text",
        lambda d: f"{d.day} {_month(d)}",
        what="(the day and the month name|day and month, the month as a word), without year",
    ),
    Operation(
        "american_long",
        "text",
        lambda d: f"{_month(d)} {d.day}, {d.year}",
        do="(write|rewrite) the date as month name, day, comma, year, without the weekday",
    ),
    Operation(
        "ordinal",
        "text",
        lambda d: f"{_month(d)} {ordinal(d.day)}",
        do="(write|give) the month name and the day as an ordinal (like 3rd|such as 21st)",
    ),
    Operation(
        "the_of",
        "text",
        lambda d: f"the {ordinal(d.day)} of {_month(d)}",
        do="(write|give) the date as 'the ORDINAL of MONTH' (like the 3rd of May|such as the 21st of July)",
    ),
    Operation(
        "year_words",
        "text",
        lambda d: f"{_month(d)} {english(d.day)}",
        do="(write|give) the month name, then the day as an English number word",
    ),
    Operation(
        "tomorrow",
        "token",
        lambda d: _later(d, 1).isoformat(),
        do="(give|write) the (next day|following day|day after) as YYYY-MM-DD",
        zh="给出后一天的日期，格式YYYY-MM-DD",
    ),
    Operation(
        "yesterday",
        "token",
        lambda d: _later(d, -1).isoformat(),
        do="(give|write) the (previous day|day before) as YYYY-MM-DD",
    ),
    Operation(
        "ten_years",
        "token",
        lambda d: f"{d.year + 10}-{d:%m-%d}",
        do="(give|write) the date ten years later as YYYY-MM-DD",
    ),
    Operation(
        "first_of_month",
        "token",
        lambda d: d.strftime("%Y-%m-01"),
        do="(give|write) the first day of that month as YYYY-MM-DD",
    ),
    Operation(
        "parts",
        "list",
        lambda d: (d.year, d.month, d.day),
        what="(the year, the month and the day|year, month, day) as three numbers",
        do="(split|break) the date into year, month and day, as numbers",
    ),
    Operation(
        "parts_british",
        "list",
        lambda d: (d.day, d.month, d.year),
        what="(the day, the month and the year|day, month, year) as three numbers",
    ),
    Operation(
        "weekday_and_year",
        "list",
        lambda d: (_weekday(d), d.year),
        what="(the weekday and the year|weekday, then year)",
    ),
    Operation(
        "next_weekdays",
        "list",
        lambda d: (_weekday(d, 1), _weekday(d, 2)),
        what="the names of the next two weekdays",
    ),
    *(
        Operation(
            f"month_{language.lower()}",
            "text",
            lambda d, names=names: names[d.month - 1],
            what=f"(the month name in {language}|the {language} name of the month)",
        )
        for language, names in words.MONTHS_IN.items()
    ),
    *(
        Operation(
            f"weekday_{language.lower()}",
            "text",
            lambda d, names=names: names[d.weekday()],
            what=f"(the weekday in {language}|the {language} (name|word) for the weekday)",
        )
        for language, names in words.WEEKDAYS_IN.items()
    ),
    Operation(
        "spanish",
        "text",
        lambda d: f"{d.day} de {words.MONTHS_IN['Spanish'][d.month - 1]} de {d.year}",
        do="(write|translate) the date in Spanish, without the weekday: DAY de MONTH de YEAR",
    ),
    Operation(
        "german",
        "text",
        lambda d: f"{d.day}. {words.MONTHS_IN['German'][d.month - 1]} {d.year}",
        do="(write|translate) the date in German, without the weekday: DAY. MONTH YEAR",
    ),
    Operation(
        "chinese",
        "token",
        lambda d: f"{d.year}年{d.month}月{d.day}日",
        do="(write|translate) the date in Chinese, without the weekday: 年, 月, 日 after the numbers",
        zh="用中文写日期（某年某月某日），不要星期",
    ),
    Operation(
        "python_date",
        "block",
        lambda d: f"date({d.year}, {d.month}, {d.day})",
        do="(write|give) a Python call of date with year, month and day as numbers",
    ),
    Operation(
        "json",
        "block",
        lambda d: f'{{"year": {d.year}, "month": {d.month}, "day": {d.day}}}',
        do="(write|give) a JSON object with year, month and day as numbers",
        zh="写成含year、month、day的JSON对象，值为数字",
    ),
    Operation(
        "sql",
        "block",
        lambda d: f"WHERE day = '{d.isoformat()}'",
        do="(write|give) an SQL WHERE clause: day equals the ISO date in single quotes",
    ),
    Operation(
        "file", "token", lambda d: f"report_{d:%Y_%m}.txt", do="(make|build) a file name: report_YYYY_MM.txt"
    ),
    Operation(
        "meeting",
        "prose",
        lambda d: f"We meet on {_weekday(d)}.",
        do="(write|make) the sentence 'We meet on WEEKDAY.'",
    ),
    Operation(
        "born",
        "prose",
        lambda d: f"She was born in {_month(d)} {d.year}.",
        do="(write|make) the sentence 'She was born in MONTH YEAR.' with the month name",
    ),
    Operation(
        "question",
        "prose",
        lambda d: f"Is {_weekday(d)} the {ordinal(d.day)} free?",
        do="(write|ask) 'Is WEEKDAY the DAY free?' with the day as an ordinal like 3rd",
    ),
)

KINDS = (Kind("date", "(a date|a date with its weekday|a calendar date)", _make, _OPERATIONS),)
