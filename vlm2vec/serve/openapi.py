"""The description of a server at `/openapi.json`: what each route takes, and errors in one form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

__all__ = ["body_of", "describe"]

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "index": {"type": ["integer", "null"], "description": "Of the input at fault, from 0."},
            },
        }
    },
}


def body_of(schemas: dict[str, dict[str, Any]], examples: dict[str, Any]) -> dict[str, Any]:
    """A request's body, for `openapi_extra` of a route.

    Args:
        schemas: JSON schemas by media type, such as "application/json".
        examples: Bodies of the first of these types, by a few words on each.
    """
    named = {name: {"summary": name, "value": value} for name, value in examples.items()}
    content: dict[str, dict[str, Any]] = {name: {"schema": schema} for name, schema in schemas.items()}
    content[next(iter(content))]["examples"] = named
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI, *, key: bool) -> None:
    """Let the application describe itself so.

    Args:
        app: With all its routes.
        key: Whether it asks for one.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            app.openapi_schema = _with_errors(schema, key)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _with_errors(schema: dict[str, Any], key: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    error = {"description": "What was wrong, in OpenAI's form", "content": content}
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # those are 400 here
            operation["responses"] |= {"4XX": error, "5XX": error}
    components = schema.setdefault("components", {})
    schemas = components.get("schemas", {})
    kept = {name: value for name, value in schemas.items() if not name.endswith("ValidationError")}
    components["schemas"] = {**kept, "Error": _ERROR}
    if key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
    return schema
