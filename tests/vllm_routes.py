"""Every route that vLLM has, and how they are read from its source: no client of Tacit may reach one. Reads what it is given."""

import ast
from pathlib import Path

IN_SOURCE = frozenset(
    """
abort_requests classify cohere/v2/chat cohere/v2/chat/render collective_rpc detokenize docs fault_tolerance/apply
fault_tolerance/status finish_weight_update generative_scoring get_world_size health inference/v1/abort_requests
inference/v1/generate init_weight_transfer_engine invocations is_paused is_scaling_elastic_ep is_sleeping
kv_event_sources load pause ping pooling ready readyz release_kv_cache_memory rerank reset_encoder_cache
reset_mm_cache reset_prefix_cache resume scale_elastic_ep score server_info shutdown_weight_transfer_engine sleep
start_draft_weight_update start_profile start_weight_update static stop_profile tokenize tokenizer_info
update_weight_version update_weights v1/audio/transcriptions v1/audio/translations v1/chat/completions
v1/chat/completions/batch v1/chat/completions/derender v1/chat/completions/render v1/completions
v1/completions/derender v1/completions/render v1/embeddings v1/load_lora_adapter v1/messages v1/messages/count_tokens
v1/messages/render v1/models v1/realtime v1/rerank v1/responses v1/responses/render v1/responses/{response_id}
v1/responses/{response_id}/cancel v1/score v1/systemone v1/unload_lora_adapter v2/embed v2/rerank version wake_up
weight_checker weight_info
""".split()
)
"""Of vLLM 0.32, whatever it was started with; in braces what a request fills in. `make test-vllm` compares it with the installed
one."""

OF_OTHERS = frozenset(("adapters", "adapters/{adapter_name}", "docs/oauth2-redirect", "metrics", "openapi.json", "redoc"))
"""Those that packages bring which it uses: the twin of `load_lora_adapter`, Prometheus', FastAPI's own."""

OURS = frozenset(("metrics", "openapi.json"))
"""Paths that Tacit has too, with answers of its own, for its operator."""

MAKERS = frozenset(
    ("get", "post", "put", "delete", "patch", "head", "options", "websocket", "api_route", "add_api_route", "mount")
)


def routes_in(package: Path) -> set[str]:
    """Paths, without the first slash, that the calls in vLLM's own source give to routers."""
    return {
        str(node.args[0].value)[1:]
        for file in (package / "entrypoints").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS and node.args
        if isinstance(node.args[0], ast.Constant) and str(node.args[0].value).startswith("/")
    }
