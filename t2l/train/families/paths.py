# ruff: noqa: E501, SIM905  (wordings stay on one line, where they can be read and searched)
"""File paths and web addresses."""

import json
import random
from dataclasses import dataclass

from t2l.train.families import words
from t2l.train.families.core import Kind, Operation

_FOLDERS = tuple(
    "photos docs music backup work school notes games tax travel recipes invoices drafts archive reports".split()
)
_TYPES = {
    "png": "image",
    "jpg": "image",
    "txt": "text",
    "md": "text",
    "py": "code",
    "js": "code",
    "mp3": "audio",
    "wav": "audio",
}


@dataclass(frozen=True, slots=True)
class Path:
    """/home/<user>/<folder>[/<inner>]/<stem>.<suffix>"""

    folders: tuple[str, ...]
    stem: str
    suffix: str

    @property
    def name(self) -> str:
        return f"{self.stem}.{self.suffix}"

    @property
    def parts(self) -> tuple[str, ...]:
        return (*self.folders, self.name)

    @property
    def parent(self) -> str:
        return "/" + "/".join(self.folders)

    @property
    def text(self) -> str:
        return f"{self.parent}/{self.name}"


def _make_path(rng: random.Random) -> tuple[Path, str]:
    folders = ("home", rng.choice(words.FIRST_NAMES).lower(), *rng.sample(_FOLDERS, rng.choice((1, 1, 2))))
    stem = rng.choice(words.ANIMALS) + rng.choice(
        ("", "", f"_{rng.choice(words.COLOURS)}", f"_{rng.randint(1, 20)}")
    )
    path = Path(folders, stem, rng.choice(tuple(_TYPES)))
    return path, path.text


_PATH_OPERATIONS = (
    Operation(
        "name",
        "token",
        lambda p: p.name,
        what="the file name( with its extension|, extension included)",
        zh="给出文件名（含扩展名）",
    ),
    Operation(
        "stem",
        "token",
        lambda p: p.stem,
        what="the file name without (its|the) extension",
        zh="给出文件名（不含扩展名）",
    ),
    Operation(
        "suffix",
        "token",
        lambda p: p.suffix,
        what="the file extension(, without the dot| (no dot))",
        zh="给出扩展名，不含点",
    ),
    Operation("dot_suffix", "token", lambda p: f".{p.suffix}", what="the file extension with its dot"),
    Operation(
        "parent",
        "token",
        lambda p: p.parent,
        what="(the path of the folder that holds the file|the path without the file name), no slash at the end",
        zh="给出所在文件夹的完整路径",
    ),
    Operation(
        "folder",
        "token",
        lambda p: p.folders[-1],
        what="the name of the folder that (directly |)holds the file, without its path",
    ),
    Operation(
        "user",
        "token",
        lambda p: p.folders[1],
        what="(the user name in the path|whose home it is in)",
        zh="给出用户名",
    ),
    Operation(
        "user_name",
        "text",
        lambda p: p.folders[1].capitalize(),
        what="the user name in the path, (capitalised|with a capital first letter)",
    ),
    Operation("third", "token", lambda p: p.folders[2], what="the third (folder|part) of the path"),
    Operation(
        "depth",
        "count",
        lambda p: len(p.folders),
        do="count the folders in the path",
        what="(how many folders the path has|the number of folders)",
        zh="数一数路径里有几个文件夹",
    ),
    Operation(
        "parts",
        "list",
        lambda p: p.parts,
        what="(all the parts of the path|the folders and the file name), in order",
        do="(split|break) the path at its slashes",
    ),
    Operation(
        "parts_reversed",
        "list",
        lambda p: p.parts[::-1],
        what="(all the parts of the path|the folders and the file name), from last to first",
    ),
    Operation(
        "folders",
        "list",
        lambda p: p.folders,
        what="(the folders|the names of the folders), in order, without the file",
        zh="按顺序列出文件夹名",
    ),
    Operation(
        "stem_and_suffix",
        "list",
        lambda p: (p.stem, p.suffix),
        what="(the file name without extension and the extension|stem and extension), two items, no dot",
    ),
    Operation(
        "user_and_file",
        "list",
        lambda p: (p.folders[1], p.name),
        what="(the user and the file name|user, then file name)",
    ),
    Operation(
        "type",
        "text",
        lambda p: _TYPES[p.suffix],
        do="(classify|label) the file: image (png, jpg), text (txt, md), code (py, js) or audio (mp3, wav)",
    ),
    Operation(
        "type_letter",
        "token",
        lambda p: {"image": "I", "text": "T", "code": "C", "audio": "A"}[_TYPES[p.suffix]],
        do="(answer|output) I for images, T for text, C for code and A for audio files",
    ),
    Operation(
        "is_image",
        "text",
        lambda p: "yes" if _TYPES[p.suffix] == "image" else "no",
        do="(say|tell me|check) (whether|if) it is an image (png or jpg), yes or no",
        zh="判断是不是图片（png或jpg），回答yes或no",
    ),
    Operation(
        "is_code",
        "token",
        lambda p: "1" if _TYPES[p.suffix] == "code" else "0",
        do="(output|answer) 1 for code files (py or js) and 0 for others",
    ),
    Operation(
        "has_digit",
        "text",
        lambda p: "true" if any(c.isdigit() for c in p.stem) else "false",
        do="(say|tell me|check) (whether|if) the file name before the dot has a digit, true or false",
    ),
    Operation(
        "to_bak",
        "token",
        lambda p: f"{p.parent}/{p.stem}.bak",
        do="(change|switch) the extension to bak and give the whole path",
        zh="把扩展名改为bak，给出完整路径",
    ),
    Operation(
        "to_pdf",
        "token",
        lambda p: f"{p.stem}.pdf",
        do="(give|write) the file name with its extension changed to pdf, without folders",
    ),
    Operation(
        "copy",
        "token",
        lambda p: f"{p.parent}/{p.stem}_copy.{p.suffix}",
        do="(add|append) _copy to the file name before the dot and give the whole path",
    ),
    Operation(
        "to_tmp", "token", lambda p: f"/tmp/{p.name}", do="(move|put) the file into /tmp: give the new path"
    ),
    Operation(
        "rename",
        "token",
        lambda p: f"{p.parent}/new.{p.suffix}",
        do="(rename|change) the file to new, same extension, and give the whole path",
    ),
    Operation(
        "other_user",
        "token",
        lambda p: "/" + "/".join((p.folders[0], "guest", *p.folders[2:], p.name)),
        do="(change|switch) the user name to guest and give the whole path",
    ),
    Operation(
        "tilde",
        "token",
        lambda p: "~/" + "/".join((*p.folders[2:], p.name)),
        do="(shorten|write) the path with ~ for the home folder (of the user|including the user name)",
    ),
    Operation(
        "windows",
        "token",
        lambda p: "C:\\" + "\\".join(p.parts),
        do="(convert|turn) it into a Windows path on drive C: with backslashes",
    ),
    Operation(
        "file_url",
        "token",
        lambda p: f"file://{p.text}",
        do="(convert|turn) it into a file URL, file:// before the path",
    ),
    Operation(
        "no_slash",
        "token",
        lambda p: p.text[1:],
        do="(remove|drop) the leading slash and give the rest of the path",
    ),
    Operation(
        "dots",
        "token",
        lambda p: ".".join(p.folders),
        do="(join|write) the folders with dots, without the file name",
    ),
    Operation(
        "upper_name", "token", lambda p: p.name.upper(), what="the file name in capitals, extension included"
    ),
    Operation(
        "cat",
        "block",
        lambda p: f"cat {p.text}",
        do="(write|give) the shell command that prints the file with cat, full path",
    ),
    Operation(
        "cd",
        "block",
        lambda p: f"cd {p.parent}",
        do="(write|give) the shell command that changes into the folder of the file",
    ),
    Operation(
        "rm",
        "block",
        lambda p: f"rm {p.name}",
        do="(write|give) the shell command rm with the file name only, no folders",
    ),
    Operation(
        "cp",
        "block",
        lambda p: f"cp {p.name} {p.stem}.old",
        do="(write|give) the shell command that copies the file, name only, to the same stem with extension old",
    ),
    Operation(
        "chmod",
        "block",
        lambda p: f"chmod +x {p.name}",
        do="(write|give) the shell command chmod +x with the file name only",
    ),
    Operation(
        "python_open",
        "block",
        lambda p: f'open("{p.name}")',
        do="(write|give) a Python call of open with the file name only, in double quotes",
    ),
    Operation(
        "pathlib",
        "block",
        lambda p: f'Path("{p.folders[-1]}") / "{p.name}"',
        do="(write|give) the pathlib expression Path of the last folder / file name, in double quotes",
    ),
    Operation(
        "json",
        "block",
        lambda p: json.dumps({"name": p.stem, "type": p.suffix}),
        do="(write|give) a JSON object with name (no extension) and type (the extension)",
        zh="输出含name（不含扩展名）和type（扩展名）的JSON",
    ),
    Operation(
        "markdown",
        "block",
        lambda p: f"[{p.stem}]({p.text})",
        do="(write|give) a Markdown link to the path, the file name without extension as text",
    ),
    Operation(
        "sentence_where",
        "prose",
        lambda p: f"The file {p.name} is in {p.folders[-1]}.",
        do="(write|say) 'The file NAME is in FOLDER.' with the last folder",
    ),
    Operation(
        "owner",
        "prose",
        lambda p: f"It belongs to {p.folders[1].capitalize()}.",
        do="(write|say) 'It belongs to USER.' with the user name capitalised",
    ),
)

# --- web addresses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Url:
    """<scheme>://<sub>.<site>.<tld>/<section>/<slug>?<key>=<number>"""

    scheme: str
    sub: str
    site: str
    tld: str
    section: str
    slug: str
    key: str
    number: int

    @property
    def host(self) -> str:
        return f"{self.sub}.{self.site}.{self.tld}"

    @property
    def path(self) -> str:
        return f"/{self.section}/{self.slug}"

    @property
    def query(self) -> str:
        return f"{self.key}={self.number}"

    def write(self, scheme: str = "", number: int | None = None, tld: str = "") -> str:
        host = f"{self.sub}.{self.site}.{tld or self.tld}"
        return f"{scheme or self.scheme}://{host}{self.path}?{self.key}={self.number if number is None else number}"


def _make_url(rng: random.Random) -> tuple[Url, str]:
    url = Url(
        rng.choice(("http", "https")), rng.choice(("www", "shop", "blog", "api", "news")), rng.choice(words.TOOLS + words.PLACES),
        rng.choice(("com", "org", "net", "de", "io")), rng.choice(("items", "posts", "users", "pages", "films")), rng.choice(words.ANIMALS),
        rng.choice(("page", "id", "size", "year")), rng.randint(1, 90),
    )  # fmt: skip
    return url, url.write()


_URL_OPERATIONS = (
    Operation(
        "scheme",
        "token",
        lambda u: u.scheme,
        what="(the protocol|the scheme), (http or https|without ://)",
        zh="给出协议",
    ),
    Operation("host", "token", lambda u: u.host, what="(the host|the host name)( only|)", zh="给出主机名"),
    Operation("domain", "token", lambda u: f"{u.site}.{u.tld}", what="the domain without its subdomain"),
    Operation("subdomain", "token", lambda u: u.sub, what="(the subdomain|the first part of the host)"),
    Operation("site", "token", lambda u: u.site, what="the middle part of the host, between the two dots"),
    Operation(
        "tld",
        "token",
        lambda u: u.tld,
        what="(the top-level domain|the ending of the host), without the dot",
        zh="给出顶级域名，不含点",
    ),
    Operation(
        "path",
        "token",
        lambda u: u.path,
        what="the path( of the address|), with its leading slash, without the query",
        zh="给出路径部分，不含查询参数",
    ),
    Operation(
        "section", "token", lambda u: u.section, what="the first (segment|part) of the path, without slashes"
    ),
    Operation("slug", "token", lambda u: u.slug, what="the last (segment|part) of the path, without slashes"),
    Operation("query", "token", lambda u: u.query, what="the query string, without the question mark"),
    Operation(
        "key", "token", lambda u: u.key, what="the (name of the query parameter|parameter name in the query)"
    ),
    Operation(
        "number",
        "count",
        lambda u: u.number,
        what="the (value of the query parameter|number in the query)",
        zh="给出查询参数的值",
    ),
    Operation(
        "number_plus_one",
        "count",
        lambda u: u.number + 1,
        do="add one to the number in the query",
        what="the number in the query plus one",
    ),
    Operation(
        "next_page",
        "token",
        lambda u: u.write(number=u.number + 1),
        do="(raise|increase) the number in the query by one and give the whole address",
        zh="把查询参数的数字加1，给出完整网址",
    ),
    Operation(
        "first_page",
        "token",
        lambda u: u.write(number=1),
        do="(set|change) the number in the query to 1 and give the whole address",
    ),
    Operation(
        "secure",
        "token",
        lambda u: u.write(scheme="https"),
        do="(make|change) the protocol https (if needed|in any case) and give the whole address",
    ),
    Operation(
        "ftp",
        "token",
        lambda u: f"ftp://{u.host}",
        do="(give|write) the host with the protocol ftp, nothing after the host",
    ),
    Operation(
        "to_fr",
        "token",
        lambda u: u.write(tld="fr"),
        do="(change|switch) the ending of the host to fr and give the whole address",
    ),
    Operation(
        "no_query",
        "token",
        lambda u: f"{u.scheme}://{u.host}{u.path}",
        do="(remove|drop|strip) the query with its question mark and give the rest",
        zh="去掉查询参数，给出其余网址",
    ),
    Operation(
        "no_scheme",
        "token",
        lambda u: u.write().split("://")[1],
        do="(remove|drop|strip) the protocol and :// and give the rest",
    ),
    Operation(
        "home",
        "token",
        lambda u: f"{u.scheme}://{u.host}/",
        do="(give|write) the home page: protocol, host and one slash",
    ),
    Operation(
        "add_lang",
        "token",
        lambda u: f"{u.path}?{u.query}&lang=en",
        do="(give|write) the path with its query and add the parameter lang=en",
    ),
    Operation(
        "path_parts",
        "list",
        lambda u: (u.section, u.slug),
        what="(the two segments of the path|the parts of the path), in order",
    ),
    Operation(
        "host_parts",
        "list",
        lambda u: (u.sub, u.site, u.tld),
        what="(the three parts of the host|the host, split at its dots), in order",
        zh="按顺序列出主机名的三个部分",
    ),
    Operation(
        "host_reversed",
        "list",
        lambda u: (u.tld, u.site, u.sub),
        what="the three parts of the host, from last to first",
    ),
    Operation(
        "key_and_value",
        "list",
        lambda u: (u.key, str(u.number)),
        what="(the query parameter and its value|parameter name, then value)",
    ),
    Operation(
        "host_and_path",
        "list",
        lambda u: (u.host, u.path),
        what="(the host and the path|host, then path), the path with its leading slash",
    ),
    Operation(
        "is_secure",
        "text",
        lambda u: "yes" if u.scheme == "https" else "no",
        do="(say|tell me|check) (whether|if) the address uses https, yes or no",
        zh="判断是否使用https，回答yes或no",
    ),
    Operation(
        "secure_label",
        "text",
        lambda u: "safe" if u.scheme == "https" else "unsafe",
        do="(label|mark) https addresses safe and http addresses unsafe",
    ),
    Operation(
        "is_com",
        "text",
        lambda u: "true" if u.tld == "com" else "false",
        do="(say|tell me|check) (whether|if) the host ends in .com, true or false",
    ),
    Operation(
        "kind",
        "text",
        lambda u: u.sub if u.sub in ("shop", "blog", "news") else "other",
        do="(answer|output) shop, blog or news if the host starts with that word, else other",
    ),
    Operation(
        "animal_plural",
        "text",
        lambda u: words.plural(u.slug),
        what="the last segment of the path as a plural noun",
    ),
    Operation(
        "json",
        "block",
        lambda u: json.dumps({"host": u.host, "path": u.path}),
        do="(write|give) a JSON object with host and path",
    ),
    Operation(
        "json_query",
        "block",
        lambda u: json.dumps({u.key: u.number}),
        do="(write|give) the query as a JSON object, the value as a number",
        zh="把查询参数写成JSON对象，值为数字",
    ),
    Operation(
        "curl",
        "block",
        lambda u: f"curl {u.host}{u.path}",
        do="(write|give) a curl command for host and path, without protocol and query",
    ),
    Operation(
        "ping", "block", lambda u: f"ping {u.host}", do="(write|give) the shell command that pings the host"
    ),
    Operation(
        "http_request",
        "block",
        lambda u: f"GET {u.path} HTTP/1.1\nHost: {u.host}",
        do="(write|give) the two HTTP/1.1 lines: GET with the path, no query, then the Host header",
    ),
    Operation(
        "markdown",
        "block",
        lambda u: f"[{u.slug}]({u.scheme}://{u.host})",
        do="(write|give) a Markdown link to protocol and host, with the last path segment as text",
    ),
    Operation(
        "html",
        "block",
        lambda u: f'<a href="{u.path}">{u.slug}</a>',
        do="(write|give) an HTML link: the path as href, the last path segment as text",
    ),
    Operation(
        "env",
        "block",
        lambda u: f"HOST={u.host}\n{u.key.upper()}={u.number}",
        do="(write|give) two lines: HOST= with the host, then the parameter name in capitals = its value",
    ),
    Operation(
        "visit",
        "prose",
        lambda u: f"Visit {u.site}.{u.tld} today!",
        do="(write|make) the advert 'Visit DOMAIN today!' with the domain without subdomain",
    ),
)

KINDS = (
    Kind("path", "(a file path|the path of a file|a Unix path)", _make_path, _PATH_OPERATIONS),
    Kind("url", "(a URL|a web address|a link)", _make_url, _URL_OPERATIONS),
)
