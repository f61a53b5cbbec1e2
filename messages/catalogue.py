"""The catalogue of messages: which there are, in which languages, and how each is filled in.

One folder a message: `meta.yaml` (purpose, values), `slack.md` (the words), optionally `email.md` (other words
by email), `subject.txt`, optionally an `email.mjml` of its own; another language is `slack.de.md`,
`subject.de.txt`. What a template may contain is `messages.render`'s business, the look of a mail
`messages.mail`'s. A shop's own folder is laid over the shipped one, file by file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Template

from messages import mail, render
from messages.asked import ASKABLE
from messages.errors import TemplateError

__all__ = ["CHANNELS", "LOCALES", "Catalogue", "Draft", "TemplateMeta"]

SHIPPED = Path(__file__).with_name("templates")
CHANNELS = ("slack", "email")
# The languages that every shipped message speaks; the first is what an unknown language falls back to.
LOCALES = ("en", "de")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A message as an agent may still edit it: the subject (email only) and the words, in plain Markdown."""

    subject: str
    text: str


@dataclass(frozen=True, kw_only=True)
class TemplateMeta:
    """What `meta.yaml` says about a message.

    Attributes
    ----------
    values : mapping of str to str
        Name of a value → its type (`line`, `text` or `url`).
    optional : frozenset of str
        Values that may be absent; they are None in the template.
    asks : str
        What a reply to it is read for (`csat`, `nps`, `review`, `goal`, `activated`); empty: nothing.
    """

    name: str
    purpose: str
    proactive: bool
    values: Mapping[str, str]
    optional: frozenset[str]
    asks: str = ""


class Catalogue:
    """All messages; made by `Catalogue.load`."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._sandbox = render.environment()
        self._metas: dict[str, TemplateMeta] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self._frames: dict[str, mail.FrameWords] = {}
        self._fillable: set[Template] = set()  # frames that are read once

    @classmethod
    def load(cls, extra_dir: Path | None = None) -> Catalogue:
        """Read and check every message; a shop's `extra_dir` goes before the shipped folder.

        Raises
        ------
        TemplateError
            A template is unsafe, reads a value that `meta.yaml` does not name, or a file is missing.
        """
        if extra_dir is not None and not extra_dir.is_dir():
            raise TemplateError(f"{extra_dir}: no such folder of templates")
        catalogue = cls((extra_dir, SHIPPED) if extra_dir else (SHIPPED,))
        catalogue._read()
        return catalogue

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all messages."""
        return tuple(sorted(self._metas))

    def meta(self, template: str) -> TemplateMeta:
        """Return what is known about a message.

        Raises
        ------
        TemplateError
            There is no message of that name.
        """
        if template not in self._metas:
            raise TemplateError(f"there is no message template {template!r}; known: {', '.join(self.names)}")
        return self._metas[template]

    def render_draft(self, template: str, locale: str, channel: str, values: Mapping[str, Any]) -> Draft:
        """Fill in a message.

        Parameters
        ----------
        template, channel : str
            Names of the message and of the channel (`slack`, `email`).
        locale : str
            A language tag such as `de-AT`; falls back to its language, then to English.
        values : mapping
            Values named in `meta.yaml`; optional ones may be absent or None, others than named are ignored.

        Raises
        ------
        TemplateError
            No such template or channel, or a required value is missing.
        """
        meta = self.meta(template)
        if channel not in CHANNELS:
            raise TemplateError(f"no words for the channel {channel!r}; known: {', '.join(CHANNELS)}")
        filled = self._values(meta, values)
        words = self._find(template, f"{channel}.md", locale) or self._find(template, "slack.md", locale)
        subject = self._find(template, "subject.txt", locale)
        if words is None or subject is None:
            raise TemplateError(f"{template}: slack.md and subject.txt are needed")
        text = re.sub(r"\n{3,}", "\n\n", render.run(words, filled, f"{template}/{channel}")).strip()
        title = " ".join(render.run(subject, filled, f"{template}/subject").split())
        return Draft(subject=title if channel == "email" else "", text=text)

    def render_email_html(
        self,
        *,
        locale: str,
        shop_name: str,
        subject: str,
        text: str,
        unsubscribe_url: str | None = None,
        shop_url: str | None = None,
        proactive: bool = True,
        template: str | None = None,
    ) -> str:
        """Wrap the (possibly edited) words of a draft into an HTML mail.

        The words are Markdown from an agent: HTML in them is shown as text, only web and mail links stay links.
        """
        frame = (self._find(template, "email.mjml", locale) if template else None) or self._templates[
            ("_frame", "email.mjml")
        ]
        words = self._frame_words(locale)
        return mail.to_html(
            frame,
            words,
            mail.MailContent(
                locale=locale,
                shop_name=shop_name,
                subject=subject,
                text=text,
                unsubscribe_url=unsubscribe_url,
                shop_url=shop_url,
                proactive=proactive,
            ),
            fillable=frame in self._fillable,
        )

    def render_email_text(
        self, *, locale: str, shop_name: str, text: str, unsubscribe_url: str | None = None, proactive: bool = True
    ) -> str:
        """Return the plain-text part of a mail: the words and the same footer as the HTML part."""
        return mail.to_text(
            self._frame_words(locale),
            shop_name=shop_name,
            text=text,
            unsubscribe_url=unsubscribe_url,
            proactive=proactive,
        )

    def _values(self, meta: TemplateMeta, values: Mapping[str, Any]) -> dict[str, str | None]:
        filled: dict[str, str | None] = {}
        for name, kind in meta.values.items():
            value = values.get(name)
            filled[name] = None if value is None else render.VALUE_TYPES[kind](value) or None
            if filled[name] is None and name not in meta.optional:
                raise TemplateError(f"{meta.name}: the value {name} is missing or empty; pass it")
        return filled

    def _find(self, template: str, file: str, locale: str) -> Template | None:
        return next(
            (t for name in _localised(file, locale) if (t := self._templates.get((template, name))) is not None), None
        )

    def _frame_words(self, locale: str) -> mail.FrameWords:
        return next(
            self._frames[name] for name in (locale.lower(), _language(locale), LOCALES[0]) if name in self._frames
        )

    def _read(self) -> None:
        for folder in reversed(self._folders):
            for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
                if directory.name == "_frame":
                    self._read_frame(directory)
                else:
                    self._read_message(directory)

    def _read_frame(self, directory: Path) -> None:
        for file in sorted(directory.glob("words*.yaml")):
            locale = file.name.removeprefix("words").removesuffix(".yaml").strip(".") or LOCALES[0]
            self._frames[locale.lower()] = mail.FrameWords.from_mapping(_read_yaml(file), str(file))
        if (frame := directory / "email.mjml").is_file():
            self._templates[("_frame", "email.mjml")] = self._compile(frame, mail.FRAME_VALUES)

    def _read_message(self, directory: Path) -> None:
        name = directory.name
        meta_file = directory / "meta.yaml"
        if meta_file.is_file():
            self._metas[name] = _meta(name, _read_yaml(meta_file), str(meta_file))
        elif name not in self._metas:
            raise TemplateError(f"{directory}: meta.yaml is missing")
        known = frozenset(self._metas[name].values)
        for file in sorted(directory.iterdir()):
            if file.suffix in (".md", ".txt"):
                self._templates[(name, file.name)] = self._compile(file, known)
            elif file.suffix == ".mjml":
                self._templates[(name, file.name)] = self._compile(file, mail.FRAME_VALUES)
        for needed in ("slack.md", "subject.txt"):
            if (name, needed) not in self._templates:
                raise TemplateError(f"{directory}: {needed} is missing")

    def _compile(self, file: Path, known: frozenset[str]) -> Template:
        try:
            source = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateError(f"{file}: cannot be read as UTF-8 text ({type(error).__name__})") from error
        if unknown := sorted(render.check_source(self._sandbox, source, str(file)) - known):
            raise TemplateError(f"{file}: reads {', '.join(unknown)}, which meta.yaml does not name")
        template = render.compile_source(self._sandbox, source, str(file))
        if file.suffix == ".mjml" and render.only_shown(self._sandbox, source, mail.OWN_VALUES):
            self._fillable.add(template)
        return template


def _language(locale: str) -> str:
    return re.split(r"[-_]", locale.lower(), maxsplit=1)[0]


def _localised(file: str, locale: str) -> tuple[str, ...]:
    stem, suffix = file.rsplit(".", 1)
    tag = locale.lower().replace("_", "-")
    return (f"{stem}.{tag}.{suffix}", f"{stem}.{_language(locale)}.{suffix}", file)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TemplateError(f"{file}: no valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tree, dict):
        raise TemplateError(f"{file}: must be a mapping")
    return tree


def _meta(name: str, tree: Mapping[str, Any], where: str) -> TemplateMeta:
    values: dict[str, str] = {}
    optional: set[str] = set()
    for value, kind in (tree.get("values") or {}).items():
        plain = str(kind).removesuffix("?")
        if plain not in render.VALUE_TYPES:
            raise TemplateError(f"{where}: values.{value}: write line, text or url, with ? where it may be absent")
        values[str(value)] = plain
        if str(kind).endswith("?"):
            optional.add(str(value))
    asks = str(tree.get("asks") or "")
    if asks and asks not in ASKABLE:
        raise TemplateError(f"{where}: asks: write one of {', '.join(sorted(ASKABLE))}, or leave it out")
    return TemplateMeta(
        name=name,
        purpose=str(tree.get("purpose", "")),
        proactive=bool(tree.get("proactive", False)),
        values=values,
        optional=frozenset(optional),
        asks=asks,
    )
