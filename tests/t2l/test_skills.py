"""skills.toml: the packaged one, keyword matching, and the errors of a bad one."""

from pathlib import Path

import pytest

from t2l.skills import DEFAULT_SKILLS, SkillsError, compile_keyword, load_skills

SKILL = """
[cooking]
template = "Cook well: {task}"
action = { en = "Cook", zh = "烹饪" }
goal = { en = "good food", zh = "美食" }
activity = ["cook*"]
tau = 0.4
gain = 0.1
exemplars = ["Write a recipe for soup."]
[cooking.keywords]
strong = ["recipe*"]
weak = ["soup", "/\\\\bfry(ing)?\\\\b/"]
against = ["recipe for disaster"]
"""
HEAD = """
[weights]
strong = 0.8
weak = 0.25
against = -0.4
[background]
exemplars = ["hi"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "skills.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_packaged_file_has_the_six_skills() -> None:
    assert load_skills().names == (
        "mathematical_reasoning",
        "code_generation",
        "reading_comprehension",
        "logical_reasoning",
        "knowledge_qa",
        "text_generation",
    )


def test_the_task_goes_into_the_template_unchanged_even_with_braces() -> None:
    for skill in load_skills().skills:
        assert "{task}" not in skill.candidate("sum {x}") and "sum {x}" in skill.candidate("sum {x}")


def test_key_match_is_a_noisy_or_less_what_speaks_against(tmp_path: Path) -> None:
    (skill,) = load_skills(written(tmp_path, HEAD + SKILL)).skills
    assert skill.key_match("nothing here") == 0
    assert skill.key_match("recipes") == pytest.approx(0.8)
    assert skill.key_match("recipe for soup, recipe again") == pytest.approx(1 - 0.2 * 0.75)
    assert skill.key_match("recipe for disaster") == pytest.approx(0.4)
    assert skill.key_match("frying") == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("source", "hits", "misses"),
    [
        ("code", ["the code", "给 code 吧", "写code"], ["decode", "codes", "code2"]),
        ("calculat*", ["calculating", "calculator"], ["recalculate"]),
        ("c++", ["c++", "c++17", "用c++写"], ["c"]),
        ("word problem*", ["word problems", "word-problem"], ["word a problem"]),
        ("推理", ["逻辑推理题"], ["推荐"]),
    ],
)
def test_keywords_match_whole_latin_words_and_chinese_anywhere(source: str, hits: list[str], misses: list[str]) -> None:
    pattern = compile_keyword(source)
    assert all(pattern.search(text) for text in hits)
    assert not any(pattern.search(text) for text in misses)


@pytest.mark.parametrize(
    "text",
    ["Reply in JSON.", "Please respond with valid JSON only, no explanation.", "Write in French.",
     "Answer with a number.", "You are a helpful, concise assistant. Use at most two sentences.", "用 JSON 回答。",
     "请只输出一个单词，不要解释。"],
)  # fmt: skip
def test_a_hint_that_says_only_how_to_answer_is_told(text: str) -> None:
    assert load_skills().says_only_how(text.lower())


@pytest.mark.parametrize(
    "text",
    ["Write a poem in French.", "Explain the text.", "Complete the lines.", "Number the lines.", "Translate to French.",
     "Return the JSON schema.", "List the capitals of Europe.", "Answer the riddle with one word.", "请用中文总结。",
     "写诗"],
)  # fmt: skip
def test_a_hint_that_says_what_to_do_does_not_only_say_how(text: str) -> None:
    assert not load_skills().says_only_how(text.lower())


def test_picking_keeps_the_order_of_the_file_and_names_what_is_missing() -> None:
    skills = load_skills()
    assert [s.name for s in skills.pick(["text_generation", "code_generation"])] == [
        "code_generation",
        "text_generation",
    ]
    with pytest.raises(SkillsError, match=r"unknown skill juggling: there are mathematical_reasoning"):
        skills.pick(["juggling"])


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    one = load_skills(written(tmp_path, HEAD + SKILL)).digest
    assert load_skills(written(tmp_path, HEAD + SKILL)).digest == one
    assert load_skills(written(tmp_path, HEAD + SKILL.replace("0.1", "0.2"))).digest != one


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{task}", "", r"cooking\.template: expected \{task\}"),
        ("tau = 0.4", "tau = 2", r"cooking\.tau: expected a number from 0 to 1, not 2"),
        ("tau = 0.4", 'tau = "0.4"', r"cooking\.tau: expected a number"),
        ("gain = 0.1", "", r"cooking\.gain: missing"),
        ("gain = 0.1", "gain = 0.1\nweight = 1", r"cooking\.weight: unknown; there are"),
        ('["Write a recipe for soup."]', "[]", r"cooking\.exemplars: expected at least one"),
        ('zh = "烹饪"', 'fr = "cuire"', r"cooking\.action: expected a table with en and zh"),
        ('["soup"', '["recipe*"', r"cooking\.keywords\.weak: 'recipe\*' stands there twice"),
        ("weak = [", "odd = [", r"cooking\.keywords\.odd: no such class"),
        ("fry(ing)?", "fry(ing?", r"is no regular expression"),
        ("strong = 0.8", "strong = 8", r"weights\.strong: expected a number"),
        ("[background]", "[backdrop]", r"\[background\]: expected a table"),
        ('["cook*"]', '["/cook(/"]', r"cooking\.activity: '/cook\(/' is no regular expression"),
        ('["cook*"]', '["/(?i)cook/"]', r"cooking\.activity: .* global flags"),
        ('["hi"]', '["hi"]\nform = ["/[a/"]', r"background\.form: '/\[a/' is no regular expression"),
        ("[cooking]", "[task]", r"task: that is what the task as a whole is called"),
        ("[cooking]", "[Cooking]", r"Cooking: expected a table with a name of small letters"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = HEAD + SKILL
    assert old in text
    with pytest.raises(SkillsError, match=message):
        load_skills(written(tmp_path, text.replace(old, new, 1)))


def test_no_skill_no_toml_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SkillsError, match="no skill in it"):
        load_skills(written(tmp_path, HEAD))
    with pytest.raises(SkillsError, match=r"skills\.toml"):
        load_skills(written(tmp_path, "[["))
    with pytest.raises(SkillsError, match=r"absent\.toml"):
        load_skills(tmp_path / "absent.toml")


def test_a_new_skill_needs_a_table_and_nothing_else(tmp_path: Path) -> None:
    """Appended to the packaged file, it is loaded beside the six and matches."""
    packaged = DEFAULT_SKILLS.read_text(encoding="utf-8")
    skills = load_skills(written(tmp_path, packaged + SKILL))
    assert len(skills.skills) == 7
    assert skills.skills[-1].key_match("a recipe") == pytest.approx(0.8)
