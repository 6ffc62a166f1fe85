//! Supported apps: desktop applications that are no editors.

use super::App;
use super::places::{Files, Place};

pub(super) const APPS: &[App] = &[
    // Model Context Protocol, "Connect to local MCP servers". The place of the packaged app is from reports of its users.
    App {
        name: "claude",
        title: "Claude Desktop",
        user: Files::one(&[
            Place::Packaged("Claude_", "Claude/claude_desktop_config.json"),
            Place::AppData("Claude/claude_desktop_config.json"),
        ]),
        ..App::USUAL
    },
    // JetBrains AI Assistant Help, "Model Context Protocol (MCP)": servers are kept in the settings of the IDE, which
    // takes JSON in the usual form.
    App {
        name: "jetbrains",
        title: "JetBrains AI Assistant",
        menu: Some("Settings | Tools | AI Assistant | Model Context Protocol (MCP), Add, As JSON"),
        ..App::USUAL
    },
    // LM Studio Docs, "Use MCP Servers": the notation of Cursor; below the directory of models, which was
    // ~/.cache/lm-studio before 0.3.4.
    App {
        name: "lmstudio",
        title: "LM Studio",
        user: Files::installed(&[
            Place::Home(".lmstudio/mcp.json"),
            Place::Home(".cache/lm-studio/mcp.json"),
        ]),
        kept: &["env", "timeout"],
        ..App::USUAL
    },
];
