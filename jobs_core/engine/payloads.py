"""A job's payload in its JSON form: the worker gets exactly what ``enqueue`` accepted."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from jobs_core.engine.registry import JobDefinition
from jobs_core.model.errors import FieldError, JobValidationError

P = TypeVar("P", bound=BaseModel)


def wire_payload(definition: JobDefinition[P], payload: P | Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload as JSON that the worker reads back as the same model.

    Fields are named by their aliases; where only their own names are read back, by those. Computed fields stay here.

    Raises:
        JobValidationError: the payload does not fit its model; or it would arrive as something else, naming the
            fields: a `SecretStr`, which is written as asterisks, NaN, an excluded field, half a surrogate pair.
    """
    model = definition.parse(payload)
    problems: JobValidationError | None = None
    for by_alias in (True, False):
        try:
            return _that_arrives(definition, model, by_alias=by_alias)
        except JobValidationError as error:
            problems = problems or error
    assert problems is not None
    raise problems


def _that_arrives(definition: JobDefinition[P], model: P, *, by_alias: bool) -> dict[str, Any]:
    try:
        dumped = model.model_dump(mode="json", by_alias=by_alias, round_trip=True)
        arrived: dict[str, Any] = from_json(to_json(dumped))
    except (ValueError, RecursionError, PydanticSerializationError) as error:
        raise JobValidationError(
            f"the payload of {definition.job_type} has no form in JSON: {error}"
        ) from None
    try:
        read = definition.parse(arrived)
    except JobValidationError as error:
        raise JobValidationError(
            f"the worker would refuse what {definition.job_type} is written as: {error.message}", error.errors
        ) from None
    changed = [
        name for name in type(model).model_fields if not _is_same(getattr(model, name), getattr(read, name))
    ]
    if changed or arrived != dumped:
        lost = FieldError(
            ", ".join(changed) or "(payload)", "it would arrive as something else", "not_transportable"
        )
        raise JobValidationError(
            f"the payload of {definition.job_type} is not valid: {lost.path}: {lost.message}, for JSON cannot carry it",
            [lost],
        )
    return arrived


def _is_same(sent: object, read: object) -> bool:
    """Return whether ``read`` equals what was sent.

    A value in a field of type ``Any`` arrives in its JSON form: a date as text, a tuple as a list.
    """
    if isinstance(sent, BaseModel) and type(sent) is type(read):
        return all(_is_same(getattr(sent, name), getattr(read, name)) for name in type(sent).model_fields)
    if isinstance(sent, SecretStr | SecretBytes):
        return sent == read  # its JSON form is asterisks
    if isinstance(sent, Mapping) and isinstance(read, Mapping):
        return len(sent) == len(read) and all(map(_is_same, sent.values(), read.values()))
    if isinstance(sent, list | tuple) and isinstance(read, list | tuple):
        return len(sent) == len(read) and all(map(_is_same, sent, read))
    has_no_equality = type(sent).__eq__ is object.__eq__
    if sent == read or (has_no_equality and type(sent) is type(read)):
        return True
    return type(sent) is not type(read) and bool(to_jsonable_python(sent) == read)
