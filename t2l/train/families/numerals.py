# ruff: noqa: E501, SIM905  (word lists are written as words, not as quoted strings)
"""Numbers as words: English, Spanish, French, German and Chinese."""

_EN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_EN_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ES = (
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho "
    "diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
).split()
_ES_TENS = "_ _ _ treinta cuarenta cincuenta sesenta setenta ochenta noventa".split()
_ES_HUNDREDS = (
    "_ ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos"
).split()
_FR = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf"
).split()
_FR_TENS = "_ _ vingt trente quarante cinquante soixante".split()
_DE = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn "
    "neunzehn"
).split()
_DE_TENS = "_ _ zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
_ZH = "零一二三四五六七八九"


def english(n: int) -> str:
    """Without "and": 123 is "one hundred twenty-three"; |n| below a million."""
    if n < 0:
        return "minus " + english(-n)
    if n < 20:
        return _EN[n]
    if n < 100:
        return _EN_TENS[n // 10] + (f"-{_EN[n % 10]}" if n % 10 else "")
    unit, name = (1000, "thousand") if n >= 1000 else (100, "hundred")
    return f"{english(n // unit)} {name}" + (f" {english(n % unit)}" if n % unit else "")


def spanish(n: int) -> str:
    """0 to 999."""
    if n < 30:
        return _ES[n]
    if n < 100:
        return _ES_TENS[n // 10] + (f" y {_ES[n % 10]}" if n % 10 else "")
    if n == 100:
        return "cien"
    return _ES_HUNDREDS[n // 100] + (f" {spanish(n % 100)}" if n % 100 else "")


def french(n: int) -> str:
    """0 to 999, with "et" as in "vingt et un"."""
    if n < 20:
        return _FR[n]
    if n < 70:
        tens = _FR_TENS[n // 10]
        return tens if n % 10 == 0 else f"{tens} et un" if n % 10 == 1 else f"{tens}-{_FR[n % 10]}"
    if n < 80:
        return "soixante et onze" if n == 71 else f"soixante-{_FR[n - 60]}"
    if n < 100:
        return "quatre-vingts" if n == 80 else f"quatre-vingt-{_FR[n - 80]}"
    hundreds = "cent" if n < 200 else f"{_FR[n // 100]} cent"
    if n % 100:
        return f"{hundreds} {french(n % 100)}"
    return hundreds if n < 200 else hundreds + "s"


def german(n: int) -> str:
    """0 to 999."""
    if n < 20:
        return _DE[n]
    if n < 100:
        unit = "ein" if n % 10 == 1 else _DE[n % 10]
        return f"{unit}und{_DE_TENS[n // 10]}" if n % 10 else _DE_TENS[n // 10]
    head = ("ein" if n < 200 else _DE[n // 100]) + "hundert"
    return head + german(n % 100) if n % 100 else head


def chinese(n: int) -> str:
    """0 to 999."""
    if n < 10:
        return _ZH[n]
    if n < 20:
        return "十" + (_ZH[n % 10] if n % 10 else "")
    if n < 100:
        return _ZH[n // 10] + "十" + (_ZH[n % 10] if n % 10 else "")
    tail = n % 100
    if not tail:
        return _ZH[n // 100] + "百"
    if tail < 10:
        return f"{_ZH[n // 100]}百零{_ZH[tail]}"
    return f"{_ZH[n // 100]}百{_ZH[tail // 10]}十" + (_ZH[tail % 10] if tail % 10 else "")


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"
