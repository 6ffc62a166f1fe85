//! Supported apps: desktop applications that are no editors.

use super::AppConfiguration;
use super::places::{ConfigPath, Files};

pub(super) const APPS: &[AppConfiguration] = &[
    // Model Context Protocol, "Connect to local MCP servers". The place of the packaged app is from reports of its users.
    AppConfiguration {
        name: "claude",
        title: "Claude Desktop",
        user: Files::one(&[
            ConfigPath::Packaged("Claude_", "Claude/claude_desktop_config.json"),
            ConfigPath::AppData("Claude/claude_desktop_config.json"),
        ]),
        ..AppConfiguration::USUAL
    },
    // JetBrains AI Assistant Help, "Model Context Protocol (MCP)": servers are kept in the settings of the IDE, which
    // takes JSON in the usual form.
    AppConfiguration {
        name: "jetbrains",
        title: "JetBrains AI Assistant",
        menu: Some("Settings | Tools | AI Assistant | Model Context Protocol (MCP), Add, As JSON"),
        ..AppConfiguration::USUAL
    },
    // LM Studio Docs, "Use MCP Servers": the notation of Cursor; below the directory of models, which was
    // ~/.cache/lm-studio before 0.3.4.
    AppConfiguration {
        name: "lmstudio",
        title: "LM Studio",
        user: Files::installed(&[
            ConfigPath::Home(".lmstudio/mcp.json"),
            ConfigPath::Home(".cache/lm-studio/mcp.json"),
        ]),
        kept: &["env", "timeout"],
        ..AppConfiguration::USUAL
    },
];
