import inspect

import pytest

import adapters.errors
import proxy.engine.api
import proxy.errors
from proxy.engine.api import ContextTooLong, EngineBusy, UnknownModel
from proxy.errors import ERROR_REPLIES, INTERNAL, BadRequest, ModelNotFound, ProxyError, error_body, reply_for


def test_every_exception_class_has_a_row():
    for module in (adapters.errors, proxy.engine.api, proxy.errors):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, Exception) and cls.__module__ == module.__name__:
                assert cls in ERROR_REPLIES, cls


def test_the_shape_is_openais():
    problem = BadRequest("n: too many", param="n", code="invalid_value")
    assert error_body(problem) == {
        "error": {"message": "n: too many", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    }
    assert error_body(ModelNotFound("no"))["error"]["param"] == "model"
    assert reply_for(EngineBusy(64, 64)).status == 429


def test_a_full_context_is_told_in_openais_words():
    body = error_body(ContextTooLong(5000, 4096))["error"]
    assert body["message"].startswith("This model's maximum context length is 4096 tokens. However, your messages")
    assert (body["code"], reply_for(ContextTooLong(5000, 4096)).status) == ("context_length_exceeded", 400)


@pytest.mark.parametrize("fault", [RuntimeError("password"), UnknownModel("password", []), ProxyError("password")])
def test_a_fault_of_ours_tells_no_details(fault):
    assert reply_for(fault) is INTERNAL
    assert "password" not in error_body(fault)["error"]["message"]


def test_a_subclass_without_a_row_takes_its_parents():
    class Special(BadRequest):
        pass

    assert reply_for(Special("x")).status == 400
