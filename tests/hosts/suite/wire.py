"""Wire formats of the model endpoint: what a host offers and answers, and the events of a reply."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Iterable, Optional, Union

MODEL = "gpt-4.1"


@dataclass
class Tool:
    name: str
    description: str
    namespace: str = ""
    schema: Any = None


@dataclass
class Asked:
    """A request of a host, whatever its format."""

    tools: list[Tool]
    results: list[str]  # texts of all tool results in the conversation
    stream: bool


@dataclass
class Call:
    id: str
    tool: Tool
    arguments: dict[str, Any]


Reply = Union[Call, str]


def text_of(content: Any) -> str:
    """The text of a tool result, whose shape differs from host to host."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def sse(events: Iterable[tuple[Optional[str], Any]]) -> bytes:
    lines = []
    for name, data in events:
        lines.append((f"event: {name}\n" if name else "") + f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n")
    return "".join(lines).encode()


class Chat:
    """OpenAI chat completions."""

    @staticmethod
    def read(body: dict[str, Any]) -> Asked:
        functions = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
        tools = [Tool(f["name"], f.get("description", ""), schema=f.get("parameters")) for f in functions]
        results = [text_of(m.get("content")) for m in body.get("messages", []) if m.get("role") == "tool"]
        return Asked(tools, results, bool(body.get("stream")))

    @staticmethod
    def write(reply: Reply, stream: bool) -> tuple[str, bytes]:
        base = {"id": "chat-1", "created": 1, "model": MODEL}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        message: dict[str, Any] = {"role": "assistant", "content": reply if isinstance(reply, str) else None}
        if isinstance(reply, Call):
            function = {"name": reply.tool.name, "arguments": json.dumps(reply.arguments)}
            message["tool_calls"] = [{"index": 0, "id": reply.id, "type": "function", "function": function}]
        reason = "stop" if isinstance(reply, str) else "tool_calls"
        if not stream:
            choice = {"index": 0, "message": message, "finish_reason": reason}
            answer = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return "application/json", json.dumps(answer).encode()
        chunk = {**base, "object": "chat.completion.chunk"}
        return "text/event-stream", sse([
            (None, {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]}),
            (None, {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}),
            (None, {**chunk, "choices": [], "usage": usage}),
            (None, "[DONE]"),
        ])


class Responses:
    """OpenAI responses."""

    @staticmethod
    def read(body: dict[str, Any]) -> Asked:
        tools: list[Tool] = []
        for tool in body.get("tools") or []:
            if tool.get("type") == "namespace":
                inner = tool.get("tools", [])
                tools += [Tool(t["name"], t.get("description", ""), tool["name"], t.get("parameters")) for t in inner]
            elif "name" in tool:
                tools.append(Tool(tool["name"], tool.get("description", ""), schema=tool.get("parameters")))
        items = body.get("input") if isinstance(body.get("input"), list) else []
        results = [text_of(item.get("output")) for item in items if item.get("type") == "function_call_output"]
        return Asked(tools, results, bool(body.get("stream")))

    @staticmethod
    def write(reply: Reply, stream: bool) -> tuple[str, bytes]:
        if isinstance(reply, Call):
            item = {"type": "function_call", "id": f"f{reply.id}", "call_id": reply.id, "name": reply.tool.name,
                    "arguments": json.dumps(reply.arguments), "status": "completed"}
            if reply.tool.namespace:
                item["namespace"] = reply.tool.namespace
        else:
            item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": reply, "annotations": []}]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        response = {"id": "resp-1", "object": "response", "model": MODEL, "status": "completed", "output": [item],
                    "usage": usage}
        if not stream:
            return "application/json", json.dumps(response).encode()
        events = [
            {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        return "text/event-stream", sse((event["type"], event) for event in events)


class Anthropic:
    """Anthropic messages."""

    @staticmethod
    def read(body: dict[str, Any]) -> Asked:
        tools = [Tool(t["name"], t.get("description", ""), schema=t.get("input_schema")) for t in body.get("tools") or []]
        results = []
        for message in body.get("messages", []):
            parts = message.get("content") if isinstance(message.get("content"), list) else []
            results += [text_of(part.get("content")) for part in parts if part.get("type") == "tool_result"]
        return Asked(tools, results, bool(body.get("stream")))

    @staticmethod
    def write(reply: Reply, stream: bool) -> tuple[str, bytes]:
        usage = {"input_tokens": 1, "output_tokens": 1}
        if isinstance(reply, Call):
            reason = "tool_use"
            block = {"type": "tool_use", "id": reply.id, "name": reply.tool.name, "input": reply.arguments}
            empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(reply.arguments)}
        else:
            reason = "end_turn"
            block = {"type": "text", "text": reply}
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": reply}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [block],
                   "stop_reason": reason, "stop_sequence": None, "usage": usage}
        if not stream:
            return "application/json", json.dumps(message).encode()
        events = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ]
        return "text/event-stream", sse((event["type"], event) for event in events)


class Gemini:
    """Gemini generateContent and streamGenerateContent."""

    @staticmethod
    def read(body: dict[str, Any]) -> Asked:
        tools = [
            Tool(f["name"], f.get("description", ""), schema=f.get("parametersJsonSchema") or f.get("parameters"))
            for group in body.get("tools") or [] for f in group.get("functionDeclarations", [])
        ]
        parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
        results = [text_of(part["functionResponse"].get("response")) for part in parts if "functionResponse" in part]
        return Asked(tools, results, stream=False)

    @staticmethod
    def write(reply: Reply, stream: bool) -> tuple[str, bytes]:
        call = {} if isinstance(reply, str) else {"name": reply.tool.name, "args": reply.arguments}
        part = {"functionCall": call} if call else {"text": reply}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
        answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL}
        return ("text/event-stream", sse([(None, answer)])) if stream else ("application/json", json.dumps(answer).encode())
