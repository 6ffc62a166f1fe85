//! Supported apps: editors and their extensions.

use super::places::{Files, Place};
use super::{App, Shape};

pub(super) const APPS: &[App] = &[
    // aws/amazon-q-developer-cli docs/agent-format.md and the user guide, "MCP configuration for Q Developer in the
    // IDE": mcp.json is read by the CLI and the IDE unless `useLegacyMcpJson` is off; the newer files differ between
    // the two.
    App {
        name: "amazonq",
        title: "Amazon Q Developer",
        user: Files::one(&[Place::Home(".aws/amazonq/mcp.json")]),
        project: Files::one(&[Place::Project(".amazonq/mcp.json")]),
        kept: &["env", "timeout", "disabled"],
        ..App::USUAL
    },
    // Antigravity Docs, "MCP Integration"; ~/.gemini/config is shared by its versions from 2.0 on.
    App {
        name: "antigravity",
        title: "Antigravity",
        user: Files::installed(&[
            Place::Home(".gemini/config/mcp_config.json"),
            Place::Home(".gemini/antigravity/mcp_config.json"),
        ]),
        kept: &["env", "disabled", "disabledTools"],
        then: "In Antigravity: MCP Servers > Manage MCP Servers > Refresh.",
        ..App::USUAL
    },
    // cline/cline sdk/packages/shared/src/storage/paths.ts and sdk/packages/core/src/extensions/mcp/config-loader.ts:
    // one file for the extension and the CLI. Older versions of the extension have theirs in the storage of VS Code,
    // from which the newer take it over once.
    App {
        name: "cline",
        title: "Cline",
        user: Files::installed(&[
            Place::Variable(
                "CLINE_DATA_DIR",
                ".cline/data",
                "settings/cline_mcp_settings.json",
            ),
            Place::AppData(
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
        ]),
        kept: &["env", "disabled", "timeout", "autoApprove", "metadata"],
        ..App::USUAL
    },
    // continuedev/continue core/context/mcp/json/loadJsonMcpConfigs.ts and
    // docs/customize/deep-dives/mcp.mdx: any JSON file in this directory, in the usual form.
    App {
        name: "continue",
        title: "Continue",
        user: Files::one(&[Place::Variable(
            "CONTINUE_GLOBAL_DIR",
            ".continue",
            "mcpServers/mcp.json",
        )]),
        project: Files::one(&[Place::Project(".continue/mcpServers/mcp.json")]),
        then: "Continue uses MCP servers in agent mode. Its CLI, cn, reads config.yaml alone: --print yaml shows an \
               entry for that.",
        ..App::USUAL
    },
    // Cursor Docs, "Model Context Protocol (MCP)".
    App {
        name: "cursor",
        title: "Cursor",
        user: Files::one(&[Place::Home(".cursor/mcp.json")]),
        project: Files::one(&[Place::Project(".cursor/mcp.json")]),
        kept: &["env", "envFile"],
        ..App::USUAL
    },
    // Junie Help, "Model Context Protocol (MCP)".
    App {
        name: "junie",
        title: "Junie",
        user: Files::one(&[Place::Home(".junie/mcp/mcp.json")]),
        project: Files::one(&[Place::Project(".junie/mcp/mcp.json")]),
        ..App::USUAL
    },
    // Kilo CLI 7.8.1, its built-in "Kilo CLI Configuration Reference"; the extension uses the same files since it was
    // rebuilt on the CLI.
    App {
        name: "kilo",
        title: "Kilo Code",
        user: Files::all(
            &[
                Place::Xdg("kilo/config.json"),
                Place::Xdg("kilo/kilo.json"),
                Place::Xdg("kilo/kilo.jsonc"),
                Place::Xdg("kilo/opencode.json"),
                Place::Xdg("kilo/opencode.jsonc"),
            ],
            2,
        ),
        project: Files::all(
            &[
                Place::Project("kilo.json"),
                Place::Project("kilo.jsonc"),
                Place::Project(".kilocode/kilo.json"),
                Place::Project(".kilocode/kilo.jsonc"),
                Place::Project(".kilo/kilo.json"),
                Place::Project(".kilo/kilo.jsonc"),
            ],
            5,
        ),
        servers: &["mcp"],
        kept: &["environment", "enabled", "disabled", "timeout", "cwd"],
        shape: Shape::OneList,
        ..App::USUAL
    },
    // Kiro Docs, "MCP: Configuration", for the IDE and the CLI.
    App {
        name: "kiro",
        title: "Kiro",
        user: Files::one(&[Place::Home(".kiro/settings/mcp.json")]),
        project: Files::one(&[Place::Project(".kiro/settings/mcp.json")]),
        kept: &["env", "disabled", "autoApprove", "disabledTools", "timeout"],
        then: "Kiro connects to it when the file is saved; Kiro CLI at its next start.",
        ..App::USUAL
    },
    // RooCodeInc/Roo-Code src/services/mcp/McpHub.ts: it refuses an entry with `command` and `url` or `headers`.
    App {
        name: "roo",
        title: "Roo Code",
        user: Files::one(&[Place::AppData(
            "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        )]),
        project: Files::one(&[Place::Project(".roo/mcp.json")]),
        kept: &[
            "env",
            "cwd",
            "disabled",
            "timeout",
            "alwaysAllow",
            "disabledTools",
            "watchPaths",
        ],
        ..App::USUAL
    },
    // Visual Studio Code Docs, "MCP configuration reference" and "Profiles".
    App {
        name: "vscode",
        title: "VS Code",
        user: Files::one(&[Place::AppData("Code/User/mcp.json")]),
        project: Files::one(&[Place::Project(".vscode/mcp.json")]),
        servers: &["servers"],
        kept: &["env", "envFile", "cwd", "dev", "gallery", "version"],
        shape: Shape::Tagged("type", "stdio"),
        profiles: Some(Place::AppData("Code/User/profiles")),
        then: "VS Code asks whether you trust the server when it starts it: \"MCP: List Servers\" in its Command Palette.",
        ..App::USUAL
    },
    // Devin Docs, "MCP Configuration": Windsurf is Devin Desktop since June 2026. Windsurf had ~/.codeium.
    App {
        name: "windsurf",
        title: "Devin Desktop (Windsurf)",
        user: Files::installed(&[
            Place::XdgOrAppData("devin/mcp_config.json"),
            Place::Home(".codeium/windsurf/mcp_config.json"),
        ]),
        project: Files::one(&[Place::Project(".devin/mcp_config.json")]),
        kept: &["env", "disabled", "disabledTools", "alwaysAllow"],
        ..App::USUAL
    },
    // zed-industries/zed docs/src/ai/mcp.md, crates/paths/src/paths.rs (on macOS too below ~/.config) and
    // crates/settings_content/src/project.rs. Older versions require the tag, newer ones ignore it.
    App {
        name: "zed",
        title: "Zed",
        user: Files::one(&[Place::XdgOrAppData("zed/settings.json")]),
        project: Files::one(&[Place::Project(".zed/settings.json")]),
        servers: &["context_servers"],
        kept: &["env", "enabled", "timeout"],
        shape: Shape::Tagged("source", "custom"),
        ..App::USUAL
    },
];
