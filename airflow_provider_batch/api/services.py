"""
The services that offer the Batch API, one row each.

The connection's field *Service* names one, or else the host of the base URL identifies it. A service without a row has
OpenAI's limits, and more types of values are accepted in its request bodies, since they may differ from OpenAI's. What
a row has from documentation alone, and what was tried, is in `docs/services.md`.
"""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.service import EXPIRY, MAX_REQUESTS, Service

#: Key of the row for services that have none.
OTHER = "other"
_CHAT, _EMBEDDINGS = Endpoint.CHAT_COMPLETIONS, Endpoint.EMBEDDINGS
_COMPLETIONS, _RESPONSES = Endpoint.COMPLETIONS, Endpoint.RESPONSES
#: Azure's 14 to 30 days: files with such a policy are allowed in greater number.
_AZURE_EXPIRY = (1_209_600, 2_592_000)
_MEGABYTES = 1_000_000

_OF_THIS_SHAPE = (
    Service(
        "openai",
        "OpenAI",
        (".openai.com",),
        "https://platform.openai.com/docs/api-reference/batch, https://platform.openai.com/docs/guides/batch",
        base_url="https://api.openai.com/v1",
        expiry=EXPIRY,
        creates=(2_000, 3_600.0),
        has_openai_bodies=True,
        prices="openai",
    ),
    Service(
        "azure",
        "Azure OpenAI",
        (
            *(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
            *(".openai.azure.us", ".cognitiveservices.azure.us", ".openai.azure.cn", ".cognitiveservices.azure.cn"),
        ),
        "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch, "
        "https://learn.microsoft.com/azure/ai-foundry/openai/quotas-limits",
        base_url="https://{resource}.openai.azure.com/openai/v1",
        versioned_path="/openai",
        expiry_since="2025-03-01",
        key_header="api-key",
        endpoints=(_CHAT, _RESPONSES),
        max_requests=100_000,
        max_files=500,
        expiry=_AZURE_EXPIRY,
        input_expiry=_AZURE_EXPIRY[0],
        lists_pending_files=True,
        batches_expire=False,
        has_openai_bodies=True,
        prices="azure",
        batch_id_form="batch_{uuid}",
        model_advice="Set 'model' in body to the name of a deployment of this resource whose type is Global-Batch or "
        "DataZoneBatch (the deployment's name, not the model's); a retry with the same name fails again.",
    ),
    Service(
        "groq",
        "Groq",
        (".groq.com",),
        "https://console.groq.com/docs/batch, https://github.com/groq/groq-python (batch_create_params.py)",
        base_url="https://api.groq.com/openai/v1",
        endpoints=(_CHAT,),
        max_file_bytes=100 * _MEGABYTES,
        windows=("24h", "7d"),
        prices="groq",
        file_id_form="file_{hex}",
    ),
    Service(
        "together",
        "Together AI",
        (".together.xyz", ".together.ai"),
        "https://docs.together.ai/docs/inference/batch/overview, "
        "https://github.com/togethercomputer/together-py (resources/batches.py)",
        base_url="https://api.together.xyz/v1",
        endpoints=(_CHAT,),
        max_file_bytes=100 * _MEGABYTES,
        purpose="batch-api",
        upload_path="/files/upload",
        takes_metadata=False,
        batch_id_form="{uuid}",
    ),
    Service(
        "dashscope",
        "DashScope (Alibaba Cloud Model Studio)",
        (".dashscope.aliyuncs.com", ".dashscope-intl.aliyuncs.com", ".dashscope-us.aliyuncs.com", ".maas.aliyuncs.com"),
        "https://www.alibabacloud.com/help/model-studio/batch-interfaces-compatible-with-openai",
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        endpoints=(_CHAT, _EMBEDDINGS),
        max_file_bytes=100 * _MEGABYTES,
        windows=("24h", "14d"),
        takes_base64_vectors=False,
        batch_id_form="batch_{uuid}",
        file_id_form="file-batch-{hex}",
    ),
    Service(
        "nebius",
        "Nebius Token Factory",
        (".nebius.com", ".nebius.ai"),
        "https://docs.tokenfactory.nebius.com (limits: OpenAI's are assumed)",
        base_url="https://api.tokenfactory.nebius.com/v1",
        endpoints=(_CHAT, _EMBEDDINGS),
    ),
    Service(
        "novita",
        "Novita AI",
        (".novita.ai",),
        "https://novita.ai/docs/guides/llm-batch-api (limits: OpenAI's are assumed)",
        base_url="https://api.novita.ai/openai/v1",
        endpoints=(_CHAT, _COMPLETIONS),
        max_file_bytes=100 * _MEGABYTES,
        takes_metadata=False,
        statuses={"progress": "in_progress"},
    ),
    Service(
        "deepinfra",
        "DeepInfra",
        (".deepinfra.com",),
        "https://deepinfra.com/blog/batch-api (limits: OpenAI's are assumed)",
        base_url="https://api.deepinfra.com/v1/openai",
        endpoints=(_CHAT, _COMPLETIONS, _EMBEDDINGS),
        share=Decimal("0.8"),
    ),
    Service(
        "litellm",
        "LiteLLM's proxy",
        (),
        "https://docs.litellm.ai/docs/batches (limits: those of the service behind it; OpenAI's are assumed)",
        base_url="http://{host}:4000/v1",
        windows=None,
        expiry=EXPIRY,
        prices="openai",
    ),
    Service(
        "ogx",
        "OGX (Llama Stack)",
        (),
        "https://github.com/llamastack/llama-stack (providers/inline/batches/reference/batches.py)",
        base_url="http://{host}:8321/v1",
        endpoints=(_CHAT, _COMPLETIONS, _EMBEDDINGS),
    ),
    Service(
        "aibrix",
        "AIBrix",
        (),
        "https://aibrix.readthedocs.io/latest/features/batch-api.html; release 0.8.0 was tried",
        base_url="http://{host}:8090/v1",
        endpoints=(_CHAT, _COMPLETIONS, _EMBEDDINGS, _RESPONSES),
        statuses={"scheduling": "in_progress"},
        batch_id_form="{uuid}",
        file_id_form="{uuid}",
    ),
)

#: Services whose batch API has another shape, each with what it is instead.
_OF_ANOTHER_SHAPE = (
    Service(
        "vllm",
        "vLLM's own server",
        (),
        "https://docs.litellm.ai/docs/providers/vllm_batches",
        other_shape="it has no /v1/files and no /v1/batches. Put a batch server before it that has: OGX, AIBrix or "
        "LiteLLM's proxy, and name that one as the service",
    ),
    Service(
        "mistral",
        "Mistral AI",
        (".mistral.ai",),
        "https://docs.mistral.ai/capabilities/batch",
        other_shape="its batches are jobs at /v1/batch/jobs, with one model and lines without method and url",
    ),
    Service(
        "anthropic",
        "Anthropic",
        (".anthropic.com",),
        "https://docs.anthropic.com/en/docs/build-with-claude/batch-processing",
        other_shape="its batches are lists of messages in one call at /v1/messages/batches, without files",
    ),
    Service(
        "gemini",
        "Gemini",
        (".generativelanguage.googleapis.com",),
        "https://ai.google.dev/gemini-api/docs/batch-api",
        other_shape="its batches are operations of one model, with files of another API",
    ),
    Service(
        "fireworks",
        "Fireworks AI",
        (".fireworks.ai",),
        "https://docs.fireworks.ai/guides/batch-inference",
        other_shape="its batches are jobs over datasets, with a model for each job",
    ),
    Service(
        "xai",
        "xAI",
        (".x.ai",),
        "https://docs.x.ai/docs/guides/batch-api",
        other_shape="requests are added to a batch by calls, without a file",
    ),
    Service(
        "openrouter",
        "OpenRouter",
        (".openrouter.ai",),
        "https://openrouter.ai/docs/batch-quickstart",
        other_shape="the requests of a batch are in the create call itself, without a file",
    ),
    Service(
        "digitalocean",
        "DigitalOcean",
        (".do-ai.run",),
        "https://docs.digitalocean.com/products/inference/how-to/use-batch-inference",
        other_shape="a create has file_id, provider and request_id",
    ),
    Service(
        "bedrock",
        "Amazon Bedrock",
        (),
        "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-openai-batch.html",
        other_shape="the input and output files of its batches are objects in an S3 bucket of the account",
    ),
)

#: What applies to a service without a row.
UNKNOWN = Service(
    OTHER,
    "this service",
    (),
    "none: OpenAI's limits are assumed",
    max_requests=MAX_REQUESTS,
    windows=None,
    expiry=EXPIRY,
    prices="openai",
)

#: The known services; the last row applies to all others.
SERVICES = (*_OF_THIS_SHAPE, *_OF_ANOTHER_SHAPE, UNKNOWN)
#: Values of the connection's field *Service*.
KEYS = tuple(service.key for service in SERVICES)


def service_of(host: str) -> Service:
    """
    Return the service of a host.

    :param host: Host name of a base URL.
    """
    known = (service for service in SERVICES if service.hosts and f".{host}".endswith(service.hosts))
    return next(known, SERVICES[-1])


def service_named(key: str) -> Service | None:
    """
    Return the service with a key; None where there is none.

    :param key: Value of the connection's field *Service*, in any case.
    """
    wanted = key.strip().lower()
    return next((service for service in SERVICES if service.key == wanted), None)
