"""British spelling in prose, docstrings and comments: `python -m scalinglaws.commands.spelling`.

The words are those of codespell's dictionary from British to American, read backwards. Code is not looked at: there
`color` and `optimize` are other people's names.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from ..paths import root

BOTH = {"program", "biased", "writable", "story", "math", "license"}
"""Words of the dictionary that are British too, in the sense in which they are used here."""

_INLINE = re.compile(r"`[^`\n]*`|\]\([^)]*\)|https?://\S+")
_FENCE = re.compile(r"\s*(`{3,})(\S*)")


def american() -> dict[str, str]:
    """American spelling → British, from codespell's own list."""
    import codespell_lib

    path = Path(codespell_lib.__file__).parent / "data" / "dictionary_en-GB_to_en-US.txt"
    pairs = (line.strip().rstrip(",").split("->") for line in path.read_text(encoding="utf-8").splitlines())
    found = {us.strip(): gb for gb, many in pairs for us in many.split(",")}
    return {us: gb for us, gb in found.items() if us not in BOTH}


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of what people read in a file, with their numbers: Markdown without code; docstrings and comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        inside: list[tuple[str, bool]] = []  # the open fences, and whether each holds code
        for number, line in enumerate(text.splitlines(), 1):
            if fence := _FENCE.match(line):
                if inside and fence[1] == inside[-1][0] and not fence[2]:
                    inside.pop()
                else:
                    inside.append((fence[1], not fence[2].startswith("{") or fence[2] == "{code-cell}"))
            elif not any(code for _, code in inside):
                yield number, _INLINE.sub(" ", line)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (said := ast.get_docstring(node, clean=False)):
            start = node.body[0].lineno
            for i, line in enumerate(said.splitlines()):
                yield start + i, _INLINE.sub(" ", line)


def findings(paths: list[Path]) -> list[str]:
    """One line for each American word: file, line, the word and its British form. Names begin with a capital."""
    words, found = american(), []
    for path in paths:
        for number, line in prose(path):
            found += [
                f"{path}:{number}: {word} → {words[word]}"
                for word in re.findall(r"[A-Za-z]+", line)
                if word in words
            ]
    return found


def main() -> int:
    """Look at the book, the library and the ledger; 1 where something is found."""
    base = root()
    files = [base / "README.md", base / "CONTRIBUTING.md", *(base / "book").glob("*.md")]
    files += [*(base / "notebooks").glob("*/*.md"), *(base / "data" / "claims").glob("*.yaml")]
    files += (base / "src").rglob("*.py")
    found = findings(sorted(files))
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
