//! Supported apps: coding agents in a terminal, and terminals with an agent.

use super::entry_form::{Passes, Shape, WAITS_IN_CODEX};
use super::places::{ConfigPath, Files};
use super::{AppConfiguration, Format};

pub(super) const APPS: &[AppConfiguration] = &[
    // Amp CLI, `amp mcp add`, and the settings reference in its manual.
    AppConfiguration {
        name: "amp",
        title: "Amp",
        user: Files::one(&[
            ConfigPath::Home(".config/amp/settings.json"),
            ConfigPath::Home(".config/amp/settings.jsonc"),
        ]),
        project: Files::one(&[
            ConfigPath::Project(".amp/settings.json"),
            ConfigPath::Project(".amp/settings.jsonc"),
        ]),
        servers: &["amp.mcpServers"],
        kept: &["env", "includeTools"],
        then_in_project: "Amp starts the servers of a project after your approval: amp mcp approve NAME.",
        ..AppConfiguration::USUAL
    },
    // Claude Code 2.1, `claude mcp add --scope local|project|user` and the schema in the program.
    AppConfiguration {
        name: "claude-code",
        title: "Claude Code",
        user: Files::one(&[ConfigPath::Variable(
            "CLAUDE_CONFIG_DIR",
            "",
            ".claude.json",
        )]),
        project: Files::one(&[ConfigPath::Project(".mcp.json")]),
        local: Some(("projects", "mcpServers")),
        kept: &["env", "timeout", "alwaysLoad"],
        shape: Shape::Tagged("type", "stdio"),
        then_in_project: "Claude Code asks whether to use the servers in .mcp.json when it starts in that directory.",
        ..AppConfiguration::USUAL
    },
    // openai/codex codex-rs/config/src/mcp_types.rs: `TryFrom<RawMcpServerConfig>` refuses the file for members of
    // another transport; codex-rs/config/src/loader/mod.rs: the file of a project is read where the project is trusted.
    AppConfiguration {
        name: "codex",
        title: "Codex",
        user: Files::one(&[ConfigPath::Variable("CODEX_HOME", ".codex", "config.toml")]),
        project: Files::one(&[ConfigPath::Project(".codex/config.toml")]),
        servers: &["mcp_servers"],
        kept: &[
            "cwd",
            "default_tools_approval_mode",
            "disabled_tools",
            "enabled",
            "enabled_tools",
            "env",
            "env_vars",
            "experimental_environment",
            "name",
            "required",
            "scopes",
            "startup_timeout_ms",
            "startup_timeout_sec",
            "supports_parallel_tool_calls",
            "tool_timeout_sec",
            "tools",
        ],
        format: Format::Toml,
        passes: Passes::Listed,
        waits: &WAITS_IN_CODEX,
        then_in_project: "Codex reads this file where the project is trusted; it asks when it starts there.",
        ..AppConfiguration::USUAL
    },
    // GitHub Copilot CLI 1.0, `copilot mcp --help` and `copilot mcp add`.
    AppConfiguration {
        name: "copilot",
        title: "GitHub Copilot CLI",
        user: Files::one(&[ConfigPath::Variable(
            "COPILOT_HOME",
            ".copilot",
            "mcp-config.json",
        )]),
        project: Files::one(&[
            ConfigPath::Project(".mcp.json"),
            ConfigPath::Project(".github/mcp.json"),
        ]),
        kept: &["env", "tools", "timeout"],
        shape: Shape::Copilot,
        ..AppConfiguration::USUAL
    },
    // charmbracelet/crush internal/config/config.go (`MCPConfig`) and load.go (`lookupConfigs`).
    AppConfiguration {
        name: "crush",
        title: "Crush",
        user: Files::one(&[ConfigPath::VariableOrXdg(
            "CRUSH_GLOBAL_CONFIG",
            "crush",
            "crush.json",
        )]),
        project: Files::all(
            &[
                ConfigPath::Project("crush.json"),
                ConfigPath::Project(".crush.json"),
            ],
            0,
        ),
        servers: &["mcp"],
        kept: &[
            "env",
            "disabled",
            "disabled_tools",
            "enabled_tools",
            "timeout",
        ],
        shape: Shape::Tagged("type", "stdio"),
        ..AppConfiguration::USUAL
    },
    // google-gemini/gemini-cli docs/tools/mcp-server.md and docs/reference/configuration.md.
    AppConfiguration {
        name: "gemini",
        title: "Gemini CLI",
        user: Files::one(&[ConfigPath::Home(".gemini/settings.json")]),
        project: Files::one(&[ConfigPath::Project(".gemini/settings.json")]),
        kept: &[
            "env",
            "cwd",
            "timeout",
            "trust",
            "description",
            "includeTools",
            "excludeTools",
        ],
        passes: Passes::NoSecrets,
        then: "If Gemini CLI is running, restart it. It uses MCP servers in folders that you trust.",
        ..AppConfiguration::USUAL
    },
    // block/goose crates/goose/src/agents/extension.rs (`ExtensionConfig::Stdio`) and its documentation, "Using
    // Extensions".
    AppConfiguration {
        name: "goose",
        title: "Goose",
        user: Files::one(&[ConfigPath::XdgOrWindows(
            "goose/config.yaml",
            "Block/goose/config/config.yaml",
        )]),
        servers: &["extensions"],
        kept: &[
            "available_tools",
            "bundled",
            "description",
            "enabled",
            "env_keys",
            "envs",
            "name",
            "timeout",
        ],
        format: Format::Yaml,
        shape: Shape::Goose,
        ..AppConfiguration::USUAL
    },
    // opencode 1.18, its loader and both of its schemas: servers below `mcp`, or below `mcp.servers` in version 2.
    AppConfiguration {
        name: "opencode",
        title: "opencode",
        user: Files::all(
            &[
                ConfigPath::Xdg("opencode/config.json"),
                ConfigPath::Xdg("opencode/opencode.json"),
                ConfigPath::Xdg("opencode/opencode.jsonc"),
            ],
            1,
        ),
        project: Files::all(
            &[
                ConfigPath::Project("opencode.json"),
                ConfigPath::Project("opencode.jsonc"),
                ConfigPath::Project(".opencode/opencode.json"),
                ConfigPath::Project(".opencode/opencode.jsonc"),
            ],
            0,
        ),
        servers: &["mcp"],
        inner: Some("servers"),
        kept: &[
            "environment",
            "enabled",
            "disabled",
            "timeout",
            "cwd",
            "codemode",
        ],
        shape: Shape::OneList,
        ..AppConfiguration::USUAL
    },
    // Qwen Code 0.15, its documentation, "Connect Qwen Code to tools via MCP".
    AppConfiguration {
        name: "qwen",
        title: "Qwen Code",
        user: Files::one(&[ConfigPath::Variable("QWEN_HOME", ".qwen", "settings.json")]),
        project: Files::one(&[ConfigPath::Project(".qwen/settings.json")]),
        kept: &[
            "env",
            "cwd",
            "timeout",
            "trust",
            "description",
            "includeTools",
            "excludeTools",
        ],
        ..AppConfiguration::USUAL
    },
    // Warp Docs, "Model Context Protocol (MCP)", section "File-based MCP servers".
    AppConfiguration {
        name: "warp",
        title: "Warp",
        user: Files::one(&[ConfigPath::Home(".warp/.mcp.json")]),
        project: Files::one(&[ConfigPath::Project(".warp/.mcp.json")]),
        kept: &["env", "working_directory"],
        then: "Warp starts it by itself: Settings > Agents > MCP servers shows it.",
        then_in_project: "Warp starts the servers of a project when you say so: Settings > Agents > MCP servers.",
        ..AppConfiguration::USUAL
    },
];
