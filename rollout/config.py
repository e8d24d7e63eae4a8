"""Settings of an engine, and the engine that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from rollout.types import Engine, EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DType = Literal["auto", "float32", "bfloat16", "float16"]


class VllmOptions(BaseModel):
    """Settings of the vllm engine alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor_parallel_size: int = Field(default=1, gt=0, description="GPUs that the model is split over.")
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of the GPU's memory for vLLM; 0.3-0.5 beside a learner."
    )
    max_model_len: int | None = Field(
        default=None,
        gt=0,
        description="Longest prompt plus completion, in tokens; by default the model's.",
    )
    enforce_eager: bool = Field(
        default=False, description="Neither compile nor capture CUDA graphs: starts faster, samples slower."
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further arguments of vllm.EngineArgs; they win over all others."
    )


class ServerOptions(BaseModel):
    """Settings of the openai engine alone: where the server is and how to ask it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        default="", description="Address of the API up to /v1, as in http://localhost:8000/v1."
    )
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the API key."
    )
    concurrency: int = Field(default=64, gt=0, description="Requests under way at most.")
    timeout: float = Field(default=600.0, gt=0, description="Seconds until a request counts as failed.")
    retries: int = Field(
        default=6, ge=0, description="New tries after a timeout, a lost connection, HTTP 408, 429 or 5xx."
    )
    backoff: float = Field(
        default=1.0, ge=0, description="Seconds before the first new try; doubled each time, at most 60."
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further fields of every request's body; they win over all others."
    )


class RayOptions(BaseModel):
    """Replicas of a transformers or vllm engine, as actors of Ray."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int = Field(default=1, gt=0, description="Engines that sample side by side.")
    gpus: float | None = Field(
        default=None,
        ge=0,
        description="GPUs of each replica; by default vllm.tensor_parallel_size, or 1, where the cluster has any.",
    )
    cpus: float = Field(default=1, ge=0, description="Processors that Ray reserves for each replica.")
    address: str | None = Field(
        default=None,
        description="Address of the cluster, or `auto`; by default RAY_ADDRESS, else Ray is started here.",
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of the replicas."
    )
    restarts: int = Field(
        default=3, ge=0, description="Times that a replica which died is started again, in all."
    )
    start_timeout: float = Field(
        default=1800.0, gt=0, description="Seconds until a replica must have loaded its model."
    )


class EngineConfig(BaseModel):
    """Which model samples, and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["transformers", "vllm", "openai"] = Field(
        default="transformers",
        description="`transformers`: in this process, on CPU or GPU. `vllm`: in this process, on GPUs. "
        "`openai`: a server with the OpenAI API, for scoring and curation; it can't be trained.",
    )
    model: str = Field(
        default="", description="Folder of the model, its name on the hub, or its name on the server."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of the model on the hub.")
    tokenizer: str | None = Field(
        default=None, description="Folder or hub name of the tokenizer; by default the model's."
    )
    chat_template: str | None = Field(
        default=None, description="Jinja chat template that replaces the tokenizer's, as text."
    )
    template_options: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Variables of the chat template, such as enable_thinking: false, set for every prompt.",
    )
    dtype: DType = Field(
        default="auto", description="Type of the weights; `auto` takes that of the checkpoint."
    )
    device: str = Field(
        default="auto", description="`cpu`, `cuda`, `cuda:1`; `auto` takes a GPU where there is one."
    )
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with the model.")
    batch_size: int = Field(default=512, gt=0, description="Completions decoded together at most.")
    max_batch_tokens: int = Field(
        default=262_144,
        gt=0,
        description="Bound of the transformers engine's cache: rows x (longest prompt + max_tokens).",
    )
    prefill_tokens: int = Field(
        default=8192, gt=0, description="Padded prompt tokens in one prefill of the transformers engine."
    )
    vllm: VllmOptions = Field(default=VllmOptions(), description="Settings of the vllm engine.")
    server: ServerOptions = Field(default=ServerOptions(), description="Settings of the openai engine.")
    ray: RayOptions | None = Field(
        default=None, description="Replicas of the engine on Ray, on one machine or many; none by default."
    )

    @model_validator(mode="after")
    def _servers_have_no_replicas(self) -> Self:
        if self.ray is not None and self.kind == "openai":
            raise ValueError("ray: an openai engine has no replicas here; let the server run several")
        return self


def create_engine(config: EngineConfig) -> Engine:
    """The engine that `config` describes, its model loaded; raises `EngineError` where that fails."""
    if config.ray is not None:
        from rollout.ray_engine import RayEngine

        return RayEngine(config)
    if config.kind == "openai":
        from rollout.openai_engine import OpenAIEngine

        return OpenAIEngine(config)
    if config.kind == "vllm":
        from rollout.vllm_engine import VllmEngine

        return VllmEngine(config)
    from rollout.transformers_engine import TransformersEngine

    return TransformersEngine(
        load_model(config),
        load_tokenizer(config),
        batch_size=config.batch_size,
        max_batch_tokens=config.max_batch_tokens,
        prefill_tokens=config.prefill_tokens,
    )


def load_tokenizer(config: EngineConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of `config`, with the chat template and the template options that it sets."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    from rollout.prompts import bind_template_options

    name = config.tokenizer or config.model
    options = {
        "revision": None if config.tokenizer else config.revision,
        "trust_remote_code": config.trust_remote_code,
    }
    # AutoTokenizer rebuilds the tokenizer of some architectures (Qwen2 is one) with that family's own
    # pre-tokenizer, even where the checkpoint says that its tokenizer.json is to be taken as it is.
    try:
        files = get_tokenizer_config(name, revision=options["revision"]) if name else {}
    except (OSError, ValueError) as error:
        raise EngineError(f"can't load the tokenizer {name!r}: {first_line(error)}") from error
    declared = files.get("tokenizer_class")
    as_it_is = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
    tokenizer: PreTrainedTokenizerBase = _load(
        PreTrainedTokenizerFast if as_it_is else AutoTokenizer, "tokenizer", name, **options
    )
    if config.chat_template is not None:
        tokenizer.chat_template = config.chat_template
    if config.template_options:
        if not isinstance(tokenizer.chat_template, str):
            raise EngineError(
                f"template_options need one chat template, but tokenizer {name!r} has none: set chat_template"
            )
        tokenizer.chat_template = bind_template_options(tokenizer.chat_template, config.template_options)
    return tokenizer


def load_model(config: EngineConfig) -> PreTrainedModel:
    """The causal language model of `config` on its device, in eval mode."""
    import torch
    from transformers import AutoModelForCausalLM

    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model: PreTrainedModel = _load(
        AutoModelForCausalLM,
        "model",
        config.model,
        revision=config.revision,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
    )
    try:
        model.to(device)
    except RuntimeError as error:
        raise EngineError(f"can't put the model on device {device!r}: {first_line(error)}") from error
    return model.eval()


def _load(auto_class: Any, what: str, name: str, **options: Any) -> Any:
    """`from_pretrained` whose failure is one line that names what was looked for."""
    if not name:
        raise EngineError(f"no {what} named: set the engine's `model` to a folder or a hub name")
    try:
        return auto_class.from_pretrained(name, **{k: v for k, v in options.items() if v is not None})
    except (OSError, ValueError) as error:
        raise EngineError(f"can't load the {what} {name!r}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """First line of an error's message, or its type where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
