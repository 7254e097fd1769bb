"""Refusals that pass by themselves, in the words of several services."""

from __future__ import annotations

import pytest

from airflow_provider_batch.api.refusals import Kind, is_about_the_model, passing_kind

FILE_NOT_READY = [
    "Cannot find file file-abc.",
    "Cannot find file file-X, or project proj_Y does not have access to it.",
    "No such File object: file-abc",
    "Input file not found",
    "File file-abc not found.",
    "The file with id file-1 does not exist.",
    "The input file is not in a processed state.",
    "File file-1 is not in 'processed' status; it is 'pending'.",
    "The provided file is pending. Wait until it is processed.",
    "The file is still being processed, please try again later.",
    "File 'file-1' has not been processed yet.",
    "Could not find the input file.",
    "the uploaded file is not yet available",
    "The file has not finished processing",
    "File file-1 has not been fully processed",
    "File processing has not completed",
    "file file-1 is currently processing",
    "The file is queued for processing",
    "File must be processed before it can be used",
    "No file found with id file-1",
    "Unknown file: file-1",
    "input_file_id not found",
    "The file cannot be found",
]
TRY_AGAIN = [
    "Something went wrong, please try again later.",
    "Something went wrong while validating your batch",
    "Internal server error",
    "An unexpected error occurred.",
    "The service is temporarily unavailable",
    "The engine is currently overloaded",
    "Please retry your request later.",
    "Validation timed out.",
    "The server had an error while processing your request. Sorry about that!",
    "We are experiencing high demand",
    "Rate limit reached",
    "An error occurred, try again",
]
LASTING = [
    "Invalid file purpose: expected 'batch', found 'fine-tune'.",
    "The input file is empty. Please ensure that the batch contains at least one request.",
    "The input file is too large: 3 bytes.",
    "The provided model 'x' is not supported by the Batch API.",
    "Billing hard limit has been reached",
    "Messages parameter is required.",
    "Bad endpoint",
    "The file is not a valid JSONL file.",
    "Unknown file format",
    "The file has an unknown field",
    "File format is not supported",
    "Line 3 of the file: the model is not available",
    "The file names a model that is not available",
    "",
]
NO_SUCH_MODEL = [
    "The model `gpt-9` in your file does not exist.",
    "The model `gpt-9` named in the input file file-1 does not exist or you do not have access to it.",
    "The model `gpt-9` does not exist, please try again later.",
    "The provided model 'gpt-9' is not supported by the Batch API.",
    "Project `proj_1` does not have access to model `gpt-9`.",
    "You have no access to the requested model.",
    "Your organization must be verified to use the model `gpt-9`.",
    "You are not allowed to sample from this model",
    "Model 'gpt-9' not found in file",
    "Model not found",
    "The model `my-file-model` does not exist",
    "No such model: gpt-9. Try again later.",
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
    "please wait a moment and try again.",
]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, "file not ready") for text in FILE_NOT_READY),
        *((text, "try again") for text in TRY_AGAIN),
        *((text, None) for text in LASTING),
        *((text, None) for text in NO_SUCH_MODEL),
        ("Enqueued token limit reached. Please try again once some batches have been completed.", "queue full"),
    ],
)
def test_a_refusal_that_passes_is_known_by_its_words(text: str, kind: Kind | None) -> None:
    assert passing_kind("invalid_request", text) == kind
    assert passing_kind(None, text.upper() if kind != "queue full" else text) == kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("token_limit_exceeded", "queue full"),
        ("file_not_ready", "file not ready"),
        ("server_error", "try again"),
        ("empty_file", None),
    ],
)
def test_a_refusal_that_passes_is_known_by_its_code(code: str, kind: Kind | None) -> None:
    assert passing_kind(code, "x") == kind


@pytest.mark.parametrize("text", NO_SUCH_MODEL)
def test_a_model_that_does_not_exist_is_no_problem_of_a_file_or_of_the_server(text: str) -> None:
    assert is_about_the_model("invalid_request", text)
    assert is_about_the_model(None, text.upper())


@pytest.mark.parametrize(
    "text",
    [
        *FILE_NOT_READY,
        *TRY_AGAIN,
        "The model `gpt-9` is currently overloaded, please try again later.",
        "The batch for model gpt-9 cannot be made: input file not found",
        "The model is temporarily not available",
    ],
)
def test_a_refusal_that_passes_is_not_taken_for_a_wrong_model(text: str) -> None:
    assert not is_about_the_model("invalid_request", text)
    assert passing_kind("invalid_request", text) is not None


def test_a_refusal_for_want_of_money_does_not_pass_whatever_it_says() -> None:
    assert passing_kind("insufficient_quota", "You exceeded your quota, please try again later") is None
