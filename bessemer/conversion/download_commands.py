"""What a command such as `wget` or `curl` fetches, and where it puts it."""

from __future__ import annotations

import re
import shlex

URL = re.compile(r"(?:https?|ftp)://\S+")


def url_and_target(command: str) -> tuple[str, str]:
    """Return what a command fetches, and where to: a file, a folder that ends with a slash, or "".

    >>> url_and_target("wget -q http://a.b/c.zip -P data")
    ('http://a.b/c.zip', 'data/')
    """
    try:
        words = shlex.split(re.split(r"&&|\|\||;|\|", command)[0])
    except ValueError:
        return "", ""
    url = next((x for x in words if URL.fullmatch(x)), "")
    target = ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-P", "--directory-prefix"):
            target = f"{following.rstrip('/')}/"
        elif word in ("-O", "-o", "--output", "--output-document", ">") and not URL.match(following):
            target = following
        elif word.startswith(("--output-document=", "--output=")):
            target = word.partition("=")[2]
    if words[0] == "curl" and not target and not {"-O", "--remote-name", "-LO", "-OL"} & set(words):
        return "", ""  # it is written to the screen
    return url, target


def file_name(url: str) -> str:
    """Return what a file from a URL is called.

    >>> file_name("https://a.b/c.zip?download=1")
    'c.zip'
    """
    return re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2] or "download"
