"""The OpenAPI document as a page for people: Swagger UI, of which the daemon serves its own copy, and the same made here for
browsers without scripts. Nothing is asked of any other host."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>vproc {version}: the HTTP API</title>
<link rel="icon" href="/assets/icon.svg">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<noscript><link rel="stylesheet" href="/assets/style.css"></noscript></head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/assets/docs.js"></script>
<noscript><main>
<h1>vproc {version}: the HTTP API</h1>
<p>{description} The same for programs: <a href="/openapi.json">openapi.json</a>. <a href="/">The upload page</a>.</p>
<nav><ul>{index}</ul></nav>
{sections}
<h2>Bodies</h2>
{schemas}
</main></noscript></body></html>
"""


def docs_page(document: dict[str, Any]) -> str:
    """The whole page. Every text from the document is escaped."""
    operations = [
        (method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()
    ]
    schemas: dict[str, Any] = document["components"]["schemas"]
    return _PAGE.format(
        version=escape(document["info"]["version"]),
        description=_text(document["info"]["description"]),
        index="".join(_index_line(*entry) for entry in operations),
        sections="".join(_section(*entry) for entry in operations),
        schemas="".join(_schema_section(name, schema) for name, schema in sorted(schemas.items())),
    )


def _index_line(method: str, path: str, operation: dict[str, Any]) -> str:
    return f'<li><a href="#{escape(operation["operationId"])}"><code>{method.upper()} {escape(path)}</code></a></li>'


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f'<section id="{escape(operation["operationId"])}"><h2><code>{method.upper()} {escape(path)}</code></h2>',
        f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>",
    ]
    if parameters := operation.get("parameters"):
        rows = "".join(
            _row(
                f"<code>{escape(parameter['name'])}</code> ({parameter['in']})",
                _type(parameter["schema"]),
                parameter["description"],
            )
            for parameter in parameters
        )
        parts.append(f"<h3>Parameters</h3><table>{rows}</table>")
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body: {_type(body['content']['application/json']['schema'])}</p>")
    answers = "".join(
        _row(f"<code>{escape(status)}</code>", _content(answer), answer["description"])
        for status, answer in operation["responses"].items()
    )
    parts.append(f"<h3>Answers</h3><table>{answers}</table></section>")
    return "".join(parts)


def _schema_section(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    head = f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3><p>{_text(schema.get("description", ""))}</p>'
    if "enum" in schema:
        return f"{head}<p>One of {', '.join(f'<code>{escape(str(value))}</code>' for value in schema['enum'])}.</p></section>"
    rows = "".join(
        _row(
            f"<code>{escape(field)}</code>{'' if field in required else ' (optional)'}",
            _type(value),
            value.get("description", ""),
        )
        for field, value in schema.get("properties", {}).items()
    )
    return f"{head}<table>{rows}</table></section>"


def _row(name: str, kind: str, text: str) -> str:
    return f"<tr><td>{name}</td><td>{kind}</td><td>{_text(text)}</td></tr>"


def _content(answer: dict[str, Any]) -> str:
    return "; ".join(f"{_type(content['schema'])} {escape(kind)}" for kind, content in answer.get("content", {}).items())


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, named ones as links."""
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", [schema.get("const")]))
    kind = escape(str(schema.get("type", "")))
    if "items" in schema:
        kind += f" of {_type(schema['items'])}"
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    if "default" in schema and schema["default"] is not None:
        bounds.append(f"default {escape(json.dumps(schema['default']))}")
    return " ".join([kind, escape(schema.get("format", "")), *bounds]).strip()


def _text(text: str) -> str:
    """Escaped, with `code` in backticks; whole to the letter otherwise."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
