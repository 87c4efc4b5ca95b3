# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""Structured data about people and goods: a CSV table, a JSON object, a shopping list with prices."""

import json
import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation

# --- CSV table -----------------------------------------------------------------------------------------------------------

Row = tuple[str, int, str]


def _make_table(rng: random.Random) -> tuple[tuple[Row, ...], str]:
    count = rng.choice((2, 3, 3, 4))
    ages = rng.sample(range(18, 80), count)
    rows = tuple(
        zip(
            rng.sample(words.FIRST_NAMES, count),
            ages,
            (rng.choice(words.CITIES) for _ in range(count)),
            strict=True,
        )
    )
    return rows, "name,age,city\n" + "\n".join(f"{n},{a},{c}" for n, a, c in rows)


def _oldest(rows: tuple[Row, ...]) -> Row:
    return max(rows, key=lambda row: row[1])


def _youngest(rows: tuple[Row, ...]) -> Row:
    return min(rows, key=lambda row: row[1])


def _lines(rows: list[Row] | tuple[Row, ...]) -> str:
    return "\n".join(f"{n},{a},{c}" for n, a, c in rows)


def _objects(rows: tuple[Row, ...]) -> str:
    return json.dumps([{"name": n, "age": a} for n, a, _ in rows])


_TABLE_OPERATIONS = (
    Operation(
        "oldest",
        "text",
        lambda r: _oldest(r)[0],
        what="the name of the oldest person",
        zh="给出年龄最大的人的名字",
    ),
    Operation(
        "youngest",
        "text",
        lambda r: _youngest(r)[0],
        what="the name of the youngest person",
        zh="给出年龄最小的人的名字",
    ),
    Operation("oldest_age", "count", lambda r: _oldest(r)[1], what="the (highest|largest|greatest) age"),
    Operation("youngest_age", "count", lambda r: _youngest(r)[1], what="the (lowest|smallest) age"),
    Operation("oldest_city", "text", lambda r: _oldest(r)[2], what="the city of the oldest person"),
    Operation("youngest_city", "text", lambda r: _youngest(r)[2], what="the city of the youngest person"),
    Operation(
        "first_name", "text", lambda r: r[0][0], what="the name in the first row (of data|after the header)"
    ),
    Operation(
        "last_name", "text", lambda r: r[-1][0], what="the name in the last row", zh="给出最后一行的名字"
    ),
    Operation(
        "first_city",
        "text",
        lambda r: r[0][2],
        what="the city in the first row (of data|after the header)",
        zh="给出第一行数据的城市",
    ),
    Operation("last_city", "text", lambda r: r[-1][2], what="the city in the last row"),
    Operation("second_age", "count", lambda r: r[1][1], what="the age in the second row of data"),
    Operation("first_age", "count", lambda r: r[0][1], what="the age in the first row of data"),
    Operation(
        "rows",
        "count",
        len,
        do="count the (people|rows of data)",
        what="(the number of people|how many rows there are without the header)",
        zh="数一数有几行数据（不含表头）",
    ),
    Operation(
        "age_gap",
        "count",
        lambda r: _oldest(r)[1] - _youngest(r)[1],
        do="subtract the lowest age from the highest",
        what="the difference between the highest and the lowest age",
        steps=lambda r: f"{_oldest(r)[1]} - {_youngest(r)[1]} = {_oldest(r)[1] - _youngest(r)[1]}",
    ),
    Operation(
        "first_two_ages",
        "count",
        lambda r: r[0][1] + r[1][1],
        do="add the ages of the first two people",
        what="the sum of the first two ages",
        steps=lambda r: f"{r[0][1]} + {r[1][1]} = {r[0][1] + r[1][1]}",
    ),
    Operation(
        "over_forty",
        "count",
        lambda r: sum(a > 40 for _, a, _ in r),
        do="count the people (older than|over) 40",
        what="how many people are (older than|over) 40",
    ),
    Operation(
        "names",
        "list",
        lambda r: tuple(n for n, _, _ in r),
        what="(all the names|the name column, without its heading), in order",
        do="(list|extract) the names, in order",
        zh="按顺序列出所有名字",
    ),
    Operation(
        "ages",
        "list",
        lambda r: tuple(a for _, a, _ in r),
        what="(all the ages|the age column, without its heading), in order",
        zh="按顺序列出所有年龄",
    ),
    Operation(
        "cities",
        "list",
        lambda r: tuple(c for _, _, c in r),
        what="(all the cities|the city column, without its heading), in order",
    ),
    Operation(
        "names_reversed",
        "list",
        lambda r: tuple(n for n, _, _ in r[::-1]),
        what="(all the names|the name column), from the last row to the first",
    ),
    Operation(
        "names_sorted",
        "list",
        lambda r: tuple(sorted(n for n, _, _ in r)),
        what="(all the names|the name column) in alphabetical order",
    ),
    Operation(
        "names_by_age",
        "list",
        lambda r: tuple(n for n, _, _ in sorted(r, key=lambda x: x[1])),
        what="the names (ordered|sorted) from youngest to oldest",
    ),
    Operation(
        "names_by_age_down",
        "list",
        lambda r: tuple(n for n, _, _ in sorted(r, key=lambda x: -x[1])),
        what="the names (ordered|sorted) from oldest to youngest",
    ),
    Operation(
        "ages_sorted",
        "list",
        lambda r: tuple(sorted(a for _, a, _ in r)),
        what="the ages (ordered|sorted) from low to high",
    ),
    Operation("first_row", "list", lambda r: r[0], what="the (values|fields|cells) of the first row of data"),
    Operation("last_row", "list", lambda r: r[-1], what="the (values|fields|cells) of the last row"),
    Operation(
        "first_over_last",
        "text",
        lambda r: "yes" if r[0][1] > r[-1][1] else "no",
        do="(say|tell me|check) (whether|if) the first person is older than the last, yes or no",
    ),
    Operation(
        "json",
        "block",
        _objects,
        do="(convert|turn) the table (to|into) a JSON array of objects with name and age (only|, without the city)",
    ),
    Operation(
        "json_ages",
        "block",
        lambda r: json.dumps({n: a for n, a, _ in r}),
        do="(make|write) a JSON object that maps each name to the age",
        zh="生成一个从名字到年龄的JSON对象",
    ),
    Operation(
        "json_cities",
        "block",
        lambda r: json.dumps({n: c for n, _, c in r}),
        do="(make|write) a JSON object that maps each name to the city",
    ),
    Operation(
        "python_tuples",
        "block",
        lambda r: repr([(n, a) for n, a, _ in r]),
        do="(make|write) a Python list of tuples with name and age",
    ),
    Operation(
        "yaml",
        "block",
        lambda r: "\n".join(f"{n}: {a}" for n, a, _ in r),
        do="(make|write) YAML that maps each name to the age, one line each",
    ),
    Operation(
        "without_city",
        "block",
        lambda r: "name,age\n" + "\n".join(f"{n},{a}" for n, a, _ in r),
        do="(drop|remove|delete) the city column and (give|write) the rest as CSV with its header",
    ),
    Operation(
        "without_header",
        "block",
        lambda r: _lines(r),
        do="(drop|remove|delete) the header row and (give|copy) the other rows unchanged",
    ),
    Operation(
        "sorted_rows",
        "block",
        lambda r: _lines(sorted(r, key=lambda x: x[1])),
        do="(sort|order) the rows by age, (low to high|youngest first), and leave out the header",
    ),
    Operation(
        "reversed_rows",
        "block",
        lambda r: _lines(r[::-1]),
        do="(reverse|turn round) the order of the rows and leave out the header",
    ),
    Operation(
        "semicolons",
        "block",
        lambda r: "name;age;city\n" + "\n".join(f"{n};{a};{c}" for n, a, c in r),
        do="(change|switch) the commas in the table to semicolons, header included",
    ),
    Operation(
        "markdown",
        "block",
        lambda r: "| name | age |\n|---|---|\n" + "\n".join(f"| {n} | {a} |" for n, a, _ in r),
        do="(convert|turn) it (to|into) a Markdown table with the columns name and age only",
    ),
    Operation(
        "oldest_sentence",
        "prose",
        lambda r: f"{_oldest(r)[0]} is the oldest at {_oldest(r)[1]}.",
        do="(write|say) who is oldest in the form 'NAME is the oldest at AGE.'",
    ),
    Operation(
        "lives_in",
        "prose",
        lambda r: " ".join(f"{n} lives in {c}." for n, _, c in r),
        do="(write|make) one sentence per person, 'NAME lives in CITY.', all on one line",
    ),
    Operation(
        "sql",
        "block",
        lambda r: f"SELECT age FROM people WHERE name = '{r[0][0]}';",
        do="(write|give) an SQL query for the age from people where name is that of the first row, in single quotes",
    ),
)

# --- JSON object ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Product:
    item: str
    colour: str
    price: int
    stock: int
    sale: bool

    @property
    def fields(self) -> dict[str, str | int | bool]:
        return {
            "item": self.item,
            "colour": self.colour,
            "price": self.price,
            "stock": self.stock,
            "sale": self.sale,
        }


def _dump(fields: dict) -> str:
    return json.dumps(fields)


def _make_product(rng: random.Random) -> tuple[Product, str]:
    goods = words.CLOTHES + words.FURNITURE + words.TOOLS + words.MUSIC
    goods = tuple(x for x in goods if words.plural(x) != x)
    p = Product(
        rng.choice(goods),
        rng.choice(words.COLOURS),
        rng.randint(3, 60),
        rng.choice((0, rng.randint(1, 40), rng.randint(1, 40))),
        rng.random() < 0.5,
    )
    return p, _dump(p.fields)


def _changed(p: Product, **changes) -> str:
    return _dump({**p.fields, **changes})


def _without(p: Product, *keys: str) -> str:
    return _dump({k: v for k, v in p.fields.items() if k not in keys})


_PRODUCT_OPERATIONS = (
    Operation(
        "item", "text", lambda p: p.item, what="(the item|the value of item|what is sold)", zh="给出商品名"
    ),
    Operation("colour", "text", lambda p: p.colour, what="(the colour|the value of colour)", zh="给出颜色"),
    Operation("price", "count", lambda p: p.price, what="(the price|the value of price)", zh="给出价格"),
    Operation(
        "stock", "count", lambda p: p.stock, what="(the stock|how many are in stock)", zh="给出库存数量"
    ),
    Operation(
        "sale",
        "text",
        lambda p: "yes" if p.sale else "no",
        do="(say|tell me|check) (whether|if) it is on sale, yes or no",
        zh="判断是否在打折，回答yes或no",
    ),
    Operation(
        "available",
        "text",
        lambda p: "in stock" if p.stock else "sold out",
        do="(say|tell me|check) (whether|if) it is 'in stock' (stock above 0) or 'sold out'",
    ),
    Operation(
        "cheap",
        "text",
        lambda p: "cheap" if p.price < 30 else "expensive",
        do="(classify|label|call) it cheap below a price of 30, otherwise expensive",
    ),
    Operation(
        "price_letter",
        "token",
        lambda p: "A" if p.price > 30 else "B",
        do="(answer|output) A if the price is above 30, B if it is not",
    ),
    Operation(
        "price_plus_five",
        "count",
        lambda p: p.price + 5,
        do="add 5 to the price",
        what="the price plus 5",
        steps=lambda p: f"{p.price} + 5 = {p.price + 5}",
    ),
    Operation(
        "price_doubled",
        "count",
        lambda p: 2 * p.price,
        do="double the price",
        what="twice the price",
        steps=lambda p: f"{p.price} * 2 = {2 * p.price}",
    ),
    Operation(
        "price_plus_stock",
        "count",
        lambda p: p.price + p.stock,
        do="add the price and the stock",
        what="the sum of price and stock",
        steps=lambda p: f"{p.price} + {p.stock} = {p.price + p.stock}",
    ),
    Operation(
        "stock_minus_one",
        "integer",
        lambda p: p.stock - 1 if p.stock else None,
        what="the stock after one is sold",
        do="subtract one from the stock",
    ),
    Operation("item_plural", "text", lambda p: words.plural(p.item), what="the item in the plural"),
    Operation(
        "phrase",
        "text",
        lambda p: f"{p.colour} {p.item}",
        what="(the colour and the item as a phrase|the item with its colour before it)",
    ),
    Operation(
        "price_tag",
        "token",
        lambda p: f"${p.price}.00",
        do="(write|give) the price with a dollar sign and two decimals",
    ),
    Operation(
        "price_euro",
        "token",
        lambda p: f"{p.price} EUR",
        do="(write|give) the price followed by a space and EUR",
    ),
    Operation(
        "slug",
        "token",
        lambda p: f"{p.colour}-{p.item}-{p.price}",
        do="(make|build) a slug: colour, item and price joined by hyphens",
    ),
    Operation(
        "key",
        "token",
        lambda p: f"{p.item}_{p.colour}".upper(),
        do="(make|build) a constant name: item and colour in capitals, joined by an underscore",
    ),
    Operation(
        "number_list",
        "list",
        lambda p: (p.price, p.stock),
        what="(the two numbers|the price and the stock), in order",
    ),
    Operation(
        "strings",
        "list",
        lambda p: (p.item, p.colour),
        what="(the two string values|the values that are strings), in order",
    ),
    Operation(
        "colour_then_item",
        "list",
        lambda p: (p.colour, p.item),
        what="(the colour, then the item|colour first, item second)",
    ),
    Operation(
        "without_stock",
        "block",
        lambda p: _without(p, "stock"),
        do="(remove|delete|drop) the key stock and (give|return) the JSON that is left",
        zh="删除stock键，输出剩下的JSON",
    ),
    Operation(
        "without_sale",
        "block",
        lambda p: _without(p, "sale", "stock"),
        do="(remove|delete|drop) the keys stock and sale and (give|return) the JSON that is left",
    ),
    Operation(
        "set_orange",
        "block",
        lambda p: _changed(p, colour="orange"),
        do="(set|change) the colour to orange and (give|return) the whole JSON object",
    ),
    Operation(
        "sold_out",
        "block",
        lambda p: _changed(p, stock=0),
        do="(set|change) the stock to 0 and (give|return) the whole JSON object",
        zh="把stock改为0，输出完整JSON",
    ),
    Operation(
        "flip_sale",
        "block",
        lambda p: _changed(p, sale=not p.sale),
        do="(flip|invert|negate) the boolean sale and (give|return) the whole JSON object",
    ),
    Operation(
        "only_price",
        "block",
        lambda p: _dump({"item": p.item, "price": p.price}),
        do="(keep|leave) only the keys item and price( in the JSON|)",
    ),
    Operation(
        "rename",
        "block",
        lambda p: _dump({"cost" if k == "price" else k: v for k, v in p.fields.items()}),
        do="(rename|change) the key price to cost and (give|return) the whole JSON object",
    ),
    Operation(
        "nested",
        "block",
        lambda p: _dump({"product": {"item": p.item, "colour": p.colour}}),
        do="(make|write) a JSON object product that holds an object with item and colour",
    ),
    Operation(
        "as_array",
        "block",
        lambda p: json.dumps(list(p.fields.values())),
        do="(make|write) a JSON array of all values, in order, without keys",
    ),
    Operation(
        "yaml",
        "block",
        lambda p: f"item: {p.item}\ncolour: {p.colour}\nprice: {p.price}",
        do="(convert|turn) item, colour and price (to|into) YAML, one line each",
    ),
    Operation(
        "csv",
        "block",
        lambda p: f"item,price,stock\n{p.item},{p.price},{p.stock}",
        do="(convert|turn) item, price and stock (to|into) CSV with a header line",
    ),
    Operation(
        "ini",
        "block",
        lambda p: f"item={p.item}\nprice={p.price}",
        do="(write|give) item and price as key=value lines, no spaces",
    ),
    Operation(
        "query",
        "token",
        lambda p: f"?item={p.item}&price={p.price}",
        do="(write|make) a URL query string of item and price, beginning with ?",
    ),
    Operation(
        "python_dict",
        "block",
        lambda p: repr({"item": p.item, "sale": p.sale}),
        do="(write|give) a Python dict literal with single quotes holding item and sale",
    ),
    Operation(
        "xml",
        "block",
        lambda p: f'<item price="{p.price}">{p.item}</item>',
        do="(write|give) an XML element item with the price as attribute and the item as text",
    ),
    Operation(
        "keyword_call",
        "block",
        lambda p: f'buy(item="{p.item}", price={p.price})',
        do="(write|give) a Python call of buy with keyword arguments item, in double quotes, and price",
    ),
    Operation(
        "sql",
        "block",
        lambda p: f"UPDATE goods SET price = {p.price} WHERE item = '{p.item}';",
        do="(write|give) an SQL UPDATE of goods that sets the price where item is this one, in single quotes",
    ),
    Operation(
        "advert",
        "prose",
        lambda p: f"Buy a {p.colour} {p.item} for {p.price} dollars!",
        do="(write|make) the advert 'Buy a COLOUR ITEM for PRICE dollars!'",
    ),
    Operation(
        "question",
        "prose",
        lambda p: f"Do you have the {p.item} in {p.colour}?",
        do="(write|ask) the question 'Do you have the ITEM in COLOUR?'",
    ),
    Operation(
        "stock_sentence",
        "prose",
        lambda p: f"We have {p.stock} {words.plural(p.item)}.",
        do="(write|make) the sentence 'We have N ITEMS.' with the stock and the plural of the item",
    ),
    Operation(
        "spanish",
        "prose",
        lambda p: f"Cuesta {p.price} dólares.",
        do="(say|give) the price in Spanish: 'Cuesta N dólares.'",
    ),
    Operation(
        "german",
        "prose",
        lambda p: f"Das kostet {p.price} Dollar.",
        do="(say|give) the price in German: 'Das kostet N Dollar.'",
    ),
    Operation(
        "chinese",
        "prose",
        lambda p: f"价格是{p.price}元。",
        do="(say|give) the price in Chinese: 价格是N元。",
        zh="用“价格是N元。”说出价格",
    ),
)

# --- shopping list -------------------------------------------------------------------------------------------------------

Basket = tuple[tuple[str, int], ...]
_FOOD = (
    *words.FRUITS[:12],
    *words.VEGETABLES[:14],
    "bread",
    "milk",
    "cheese",
    "rice",
    "tea",
    "coffee",
    "honey",
    "butter",
    "flour",
    "soap",
)


def _make_basket(rng: random.Random) -> tuple[Basket, str]:
    count = rng.randint(3, 4)
    basket = tuple(zip(rng.sample(_FOOD, count), rng.sample(range(1, 20), count), strict=True))
    written = rng.choice(("{} ${}", "{}: {}", "{} - {} dollars"))
    return basket, rng.choice((", ", "\n")).join(written.format(item, price) for item, price in basket)


def _total(b: Basket) -> int:
    return sum(price for _, price in b)


def _total_steps(b: Basket) -> str:
    total, lines = b[0][1], []
    for _, price in b[1:]:
        lines.append(f"{total} + {price} = {total + price}")
        total += price
    return "\n".join(lines)


def _dear(b: Basket) -> tuple[str, int]:
    return max(b, key=lambda x: x[1])


def _cheap(b: Basket) -> tuple[str, int]:
    return min(b, key=lambda x: x[1])


def _by_price(b: Basket) -> list[tuple[str, int]]:
    return sorted(b, key=lambda x: x[1])


_BASKET_OPERATIONS = (
    Operation(
        "total",
        "count",
        _total,
        do="(add up|sum) (the|all) prices",
        what="(the total price|what everything costs together)",
        zh="计算总价",
        steps=_total_steps,
    ),
    Operation(
        "total_first_two",
        "count",
        lambda b: b[0][1] + b[1][1],
        do="add up the first two prices",
        what="the price of the first two items together",
        steps=lambda b: f"{b[0][1]} + {b[1][1]} = {b[0][1] + b[1][1]}",
    ),
    Operation(
        "change",
        "count",
        lambda b: 100 - _total(b),
        do="(work out|calculate) the change from 100",
        what="what is left of 100 after buying everything",
        steps=lambda b: f"{_total_steps(b)}\n100 - {_total(b)} = {100 - _total(b)}",
    ),
    Operation(
        "total_twice",
        "count",
        lambda b: 2 * _total(b),
        do="(work out|calculate) the total for two of everything",
        what="the total price if everything is bought twice",
        steps=lambda b: f"{_total_steps(b)}\n{_total(b)} * 2 = {2 * _total(b)}",
    ),
    Operation(
        "dearest",
        "text",
        lambda b: _dear(b)[0],
        what="the (most expensive|dearest) item( only|)",
        zh="给出最贵的商品",
    ),
    Operation(
        "cheapest",
        "text",
        lambda b: _cheap(b)[0],
        what="the (cheapest|least expensive) item( only|)",
        zh="给出最便宜的商品",
    ),
    Operation("top_price", "count", lambda b: _dear(b)[1], what="the highest price"),
    Operation("low_price", "count", lambda b: _cheap(b)[1], what="the lowest price"),
    Operation(
        "gap",
        "count",
        lambda b: _dear(b)[1] - _cheap(b)[1],
        do="subtract the lowest price from the highest",
        what="the difference between the highest and the lowest price",
        steps=lambda b: f"{_dear(b)[1]} - {_cheap(b)[1]} = {_dear(b)[1] - _cheap(b)[1]}",
    ),
    Operation("first_price", "count", lambda b: b[0][1], what="the price of the first item"),
    Operation("last_price", "count", lambda b: b[-1][1], what="the price of the last item"),
    Operation("first_item", "text", lambda b: b[0][0], what="the (name of the |)first item( only|)"),
    Operation("last_item", "text", lambda b: b[-1][0], what="the (name of the |)last item( only|)"),
    Operation(
        "count",
        "count",
        len,
        do="count the items",
        what="(the number of items|how many items there are)",
        zh="数一数有几种商品",
    ),
    Operation(
        "count_over_ten",
        "count",
        lambda b: sum(p > 10 for _, p in b),
        do="count the items that cost more than 10",
        what="how many items cost more than 10",
    ),
    Operation(
        "items",
        "list",
        lambda b: tuple(i for i, _ in b),
        what="(the items without prices|only the names of the items), in order",
        do="(list|extract) the items without their prices",
        zh="按顺序列出商品名，不要价格",
    ),
    Operation(
        "prices",
        "list",
        lambda b: tuple(p for _, p in b),
        what="(the prices without items|only the prices, as plain numbers), in order",
        do="(list|extract) the prices as plain numbers",
        zh="按顺序列出价格数字",
    ),
    Operation(
        "items_sorted",
        "list",
        lambda b: tuple(sorted(i for i, _ in b)),
        what="the items without prices in alphabetical order",
    ),
    Operation(
        "items_reversed",
        "list",
        lambda b: tuple(i for i, _ in b[::-1]),
        what="the items without prices, in reverse order",
    ),
    Operation(
        "items_upper",
        "list",
        lambda b: tuple(i.upper() for i, _ in b),
        what="the items without prices, in capital letters",
    ),
    Operation(
        "by_price",
        "list",
        lambda b: tuple(i for i, _ in _by_price(b)),
        what="the items without prices, from cheapest to most expensive",
    ),
    Operation(
        "by_price_down",
        "list",
        lambda b: tuple(i for i, _ in _by_price(b)[::-1]),
        what="the items without prices, from most expensive to cheapest",
    ),
    Operation(
        "cheapest_two",
        "list",
        lambda b: tuple(i for i, _ in _by_price(b)[:2]),
        what="the two cheapest items, the cheapest first",
    ),
    Operation(
        "prices_sorted",
        "list",
        lambda b: tuple(p for _, p in _by_price(b)),
        what="the prices as plain numbers, from low to high",
    ),
    Operation(
        "prices_plus_one",
        "list",
        lambda b: tuple(p + 1 for _, p in b),
        what="the prices as plain numbers, each raised by one",
    ),
    Operation(
        "with_euro",
        "list",
        lambda b: tuple(f"{i} {p} €" for i, p in b),
        what="each item with its price and the euro sign, as in 'rice 3 €'",
    ),
    Operation(
        "over_budget",
        "text",
        lambda b: "yes" if _total(b) > 30 else "no",
        do="(say|tell me|check) (whether|if) the total is more than 30, yes or no",
    ),
    Operation(
        "over_label",
        "token",
        lambda b: "1" if _total(b) > 35 else "0",
        do="(answer|output) 1 if the total is more than 35, else 0",
    ),
    Operation(
        "first_or_last",
        "text",
        lambda b: b[0][0] if b[0][1] > b[-1][1] else b[-1][0],
        what="(the more expensive of the first and the last item|whichever of the first and last items costs more)",
    ),
    Operation(
        "json",
        "block",
        lambda b: json.dumps(dict(b)),
        do="(convert|turn) it (to|into) a JSON object that maps each item to its price",
        zh="转换成从商品到价格的JSON对象",
    ),
    Operation(
        "json_array",
        "block",
        lambda b: json.dumps([list(x) for x in b]),
        do="(convert|turn) it (to|into) a JSON array of [item, price] arrays",
    ),
    Operation(
        "csv",
        "block",
        lambda b: "item,price\n" + "\n".join(f"{i},{p}" for i, p in b),
        do="(convert|turn) it (to|into) CSV with the header item,price",
        zh="转换成CSV，表头是item,price",
    ),
    Operation(
        "yaml",
        "block",
        lambda b: "\n".join(f"{i}: {p}" for i, p in b),
        do="(convert|turn) it (to|into) YAML with one item: price line each",
    ),
    Operation(
        "checkboxes",
        "block",
        lambda b: "\n".join(f"- [ ] {i}" for i, _ in b),
        do="(make|write) a Markdown checklist of the items, unticked boxes, no prices",
    ),
    Operation(
        "ticked",
        "block",
        lambda b: "\n".join(f"- [x] {i}" for i, _ in b),
        do="(make|write) a Markdown checklist of the items, all ticked with x, no prices",
    ),
    Operation(
        "html",
        "block",
        lambda b: "<ul>" + "".join(f"<li>{i}</li>" for i, _ in b) + "</ul>",
        do="(make|write) an HTML ul list of the items on one line, no prices",
    ),
    Operation(
        "markdown",
        "block",
        lambda b: "| item | price |\n|---|---|\n" + "\n".join(f"| {i} | {p} |" for i, p in b),
        do="(make|write) a Markdown table with the columns item and price",
    ),
    Operation(
        "python_dict",
        "block",
        lambda b: repr(dict(b)),
        do="(write|give) a Python dict literal with single quotes, item to price",
    ),
    Operation(
        "sum_line",
        "block",
        lambda b: " + ".join(str(p) for _, p in b) + f" = {_total(b)}",
        do="(write|give) the addition of the prices on one line, ending with = and the total",
    ),
    Operation(
        "i_bought",
        "prose",
        lambda b: f"I bought {b[0][0]}, {b[1][0]} and {b[2][0]}.",
        do="(write|make) a sentence 'I bought A, B and C.' with the first three items",
    ),
    Operation(
        "total_sentence",
        "prose",
        lambda b: f"That makes {_total(b)} dollars, please.",
        do="(act|speak) as a cashier: 'That makes N dollars, please.' with the total",
    ),
    Operation(
        "french",
        "prose",
        lambda b: f"Ça fait {_total(b)} euros.",
        do="(act|speak) as a French cashier: 'Ça fait N euros.' with the total",
    ),
    Operation(
        "spanish",
        "prose",
        lambda b: f"Son {_total(b)} euros.",
        do="(act|speak) as a Spanish cashier: 'Son N euros.' with the total",
    ),
)

KINDS = (
    Kind("table", "(a CSV table|a small table in CSV|CSV rows about people)", _make_table, _TABLE_OPERATIONS),
    Kind(
        "json", "(a JSON object|a product in JSON|JSON data on a product)", _make_product, _PRODUCT_OPERATIONS
    ),
    Kind(
        "basket",
        "(a shopping list|a shopping list with prices|items with prices)",
        _make_basket,
        _BASKET_OPERATIONS,
    ),
)
