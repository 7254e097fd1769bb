"""Response bodies of each endpoint as typed structs, for `Line` of `typed_lines.py`, with the same rules."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from airflow_provider_batch.results.lines.typed_lines import Body, Count


class TokenChance(Struct, gc=False):
    """
    One of the likely tokens at a position.

    :param token: Text of the token.
    :param logprob: Natural logarithm of its probability.
    """

    token: str | None = None
    logprob: float | None = None


class TokenLogprob(Struct, gc=False):
    """
    The chosen token at a position.

    :param token: Text of the token.
    :param logprob: Natural logarithm of its probability.
    :param top_logprobs: The most likely tokens at this position.
    """

    token: str | None = None
    logprob: float | None = None
    top_logprobs: list[TokenChance] | None = None


class Function(Struct, gc=False):
    """
    The field `function` or `custom` of a tool call.

    :param name: Name of the tool.
    :param arguments: Arguments of a function: JSON text, or an object from some servers.
    :param input: Input of a custom tool.
    """

    name: str | None = None
    arguments: Any = None
    input: Any = None


class ToolCall(Struct, gc=False):
    """
    One tool call of a chat message.

    :param id: Id of the call.
    :param type: `function` or `custom`.
    :param function: The called function.
    :param custom: The called custom tool.
    """

    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None


class Audio(Struct, gc=False):
    """
    The field `audio` of a chat message.

    :param transcript: Text of the spoken answer.
    """

    transcript: str | None = None


class Message(Struct, gc=False):
    """
    The field `message` of a chat choice.

    :param content: Text of the answer.
    :param refusal: Text with which the model refused to answer.
    :param tool_calls: The tool calls that the model requests.
    :param function_call: The only call, in the older form of the API.
    :param audio: The spoken answer.
    :param reasoning_content: Reasoning text of compatible servers such as vLLM and DeepSeek.
    :param reasoning: The same under another name.
    """

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Audio | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Logprobs(Struct, gc=False):
    """
    The field `logprobs` of a chat choice.

    :param content: Log-probabilities of the text.
    :param refusal: Log-probabilities of the refusal.
    """

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class ChatChoice(Struct, gc=False):
    """
    One choice of a chat completion.

    :param index: Position of the choice, from 0.
    :param finish_reason: Why the model stopped.
    :param message: The answer.
    :param logprobs: Log-probabilities, where the request asks for them.
    """

    index: Count | None = None
    finish_reason: str | None = None
    message: Message | None = None
    logprobs: Logprobs | None = None


class ChatBody(Body, gc=False):
    """
    Body of `/v1/chat/completions`.

    :param choices: The answers.
    """

    choices: list[ChatChoice] | None = None


class CompletionLogprobs(Struct, gc=False):
    """
    The field `logprobs` of a completion: lists of the same length.

    :param tokens: Text of each token.
    :param token_logprobs: Log-probability of each token.
    :param top_logprobs: Log-probability by likely token, for each token.
    """

    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None


class CompletionChoice(Struct, gc=False):
    """
    One choice of a completion.

    :param index: Position of the choice, from 0.
    :param text: The answer.
    :param finish_reason: Why the model stopped.
    :param logprobs: Log-probabilities, where the request asks for them.
    """

    index: Count | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: CompletionLogprobs | None = None


class CompletionBody(Body, gc=False):
    """
    Body of `/v1/completions`.

    :param choices: The answers.
    """

    choices: list[CompletionChoice] | None = None


class OutputPart(Struct, gc=False):
    """
    One part of an output item.

    :param type: `output_text`, `refusal`, `summary_text` or `reasoning_text`.
    :param text: Text of the part.
    :param refusal: Text with which the model refused to answer.
    :param logprobs: Log-probabilities of the text.
    """

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    logprobs: list[TokenLogprob] | None = None


class OutputItem(Struct, gc=False):
    """
    One item of `output`: a message, reasoning, or a tool call.

    :param type: Kind of item, such as `message` or `function_call`.
    :param id: Id of the item.
    :param call_id: Id of a tool call.
    :param phase: `final_answer` or `commentary`, where a message has it.
    :param status: `completed` or `incomplete`.
    :param name: Name of the called tool.
    :param arguments: Input of a function.
    :param input: Input of a custom tool.
    :param action: Input of a search, shell or computer call.
    :param actions: Input of a computer call with several actions.
    :param operation: Input of a patch call.
    :param queries: Input of a file search.
    :param code: Input of the code interpreter.
    :param content: Parts of a message, or of reasoning.
    :param summary: Parts of a reasoning summary.
    :param result: Base64 data of a generated image.
    :param revised_prompt: Prompt of a generated image, as the API changed it.
    """

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    phase: str | None = None
    status: str | None = None
    name: str | None = None
    arguments: Any = None
    input: Any = None
    action: Any = None
    actions: Any = None
    operation: Any = None
    queries: Any = None
    code: Any = None
    content: list[OutputPart] | None = None
    summary: list[OutputPart] | None = None
    result: str | None = None
    revised_prompt: str | None = None


class IncompleteDetails(Struct, gc=False):
    """
    The field `incomplete_details` of a response.

    :param reason: Why the response is incomplete.
    """

    reason: str | None = None


class ResponsesBody(Body, gc=False):
    """
    Body of `/v1/responses`.

    :param id: Id of the response.
    :param status: `completed`, `incomplete` or `failed`.
    :param incomplete_details: Why the response is incomplete.
    :param output: The items, in order.
    """

    id: str | None = None
    status: str | None = None
    incomplete_details: IncompleteDetails | None = None
    output: list[OutputItem] | None = None


class EmbeddingItem(Struct, gc=False):
    """
    One embedding.

    :param index: Position of the input, from 0.
    :param embedding: The numbers, or the bytes of little-endian 32-bit floats, which are base64 in the line.
    """

    index: Count | None = None
    embedding: bytes | list[float] | None = None


class EmbeddingsBody(Body, gc=False):
    """
    Body of `/v1/embeddings`.

    :param data: One embedding for each input.
    """

    data: list[EmbeddingItem] | None = None


class ModerationResult(Struct, gc=False):
    """
    The verdict on one input.

    :param flagged: Whether at least one category is flagged.
    :param categories: Whether each category is flagged.
    :param category_scores: Score of each category, from 0 to 1.
    """

    flagged: bool | None = None
    categories: dict[str, bool | None] | None = None
    category_scores: dict[str, float | None] | None = None


class ModerationsBody(Body, gc=False):
    """
    Body of `/v1/moderations`.

    :param results: One verdict for each input.
    """

    results: list[ModerationResult] | None = None


class Image(Struct, gc=False):
    """
    One image.

    :param b64_json: Bytes of the image, which are base64 in the line.
    :param url: Temporary address of the image at the API.
    :param revised_prompt: Prompt of the image, as the API changed it.
    """

    b64_json: bytes | None = None
    url: str | None = None
    revised_prompt: str | None = None


class ImagesBody(Body, gc=False):
    """
    Body of `/v1/images/generations` and `/v1/images/edits`.

    :param data: The images.
    :param output_format: Format of the images, such as `png`.
    :param size: Width and height in pixels, such as `1024x1024`.
    :param quality: Quality of the images.
    :param background: `opaque` or `transparent`.
    """

    data: list[Image] | None = None
    output_format: str | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None


class VideoBody(Body, gc=False):
    """
    Body of `/v1/videos`.

    :param id: Id of the video.
    :param status: Status of the video, such as `completed`.
    :param seconds: Length in seconds, as text.
    :param size: Width and height in pixels, such as `720x1280`.
    """

    id: str | None = None
    status: str | None = None
    seconds: str | None = None
    size: str | None = None
