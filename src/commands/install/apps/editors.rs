//! Supported apps: editors and their extensions.

use super::places::{ConfigPath, Files};
use super::{AppConfiguration, Shape};

pub(super) const APPS: &[AppConfiguration] = &[
    // aws/amazon-q-developer-cli docs/agent-format.md and the user guide, "MCP configuration for Q Developer in the
    // IDE": mcp.json is read by the CLI and the IDE unless `useLegacyMcpJson` is off; the newer files differ between
    // the two.
    AppConfiguration {
        name: "amazonq",
        title: "Amazon Q Developer",
        user: Files::one(&[ConfigPath::Home(".aws/amazonq/mcp.json")]),
        project: Files::one(&[ConfigPath::Project(".amazonq/mcp.json")]),
        kept: &["env", "timeout", "disabled"],
        ..AppConfiguration::USUAL
    },
    // Antigravity Docs, "MCP Integration"; ~/.gemini/config is shared by its versions from 2.0 on.
    AppConfiguration {
        name: "antigravity",
        title: "Antigravity",
        user: Files::installed(&[
            ConfigPath::Home(".gemini/config/mcp_config.json"),
            ConfigPath::Home(".gemini/antigravity/mcp_config.json"),
        ]),
        kept: &["env", "disabled", "disabledTools"],
        then: "In Antigravity: MCP Servers > Manage MCP Servers > Refresh.",
        ..AppConfiguration::USUAL
    },
    // cline/cline sdk/packages/shared/src/storage/paths.ts and sdk/packages/core/src/extensions/mcp/config-loader.ts:
    // one file for the extension and the CLI. Older versions of the extension have theirs in the storage of VS Code,
    // from which the newer take it over once.
    AppConfiguration {
        name: "cline",
        title: "Cline",
        user: Files::installed(&[
            ConfigPath::Variable(
                "CLINE_DATA_DIR",
                ".cline/data",
                "settings/cline_mcp_settings.json",
            ),
            ConfigPath::AppData(
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
        ]),
        kept: &["env", "disabled", "timeout", "autoApprove", "metadata"],
        ..AppConfiguration::USUAL
    },
    // continuedev/continue core/context/mcp/json/loadJsonMcpConfigs.ts and
    // docs/customize/deep-dives/mcp.mdx: any JSON file in this directory, in the usual form.
    AppConfiguration {
        name: "continue",
        title: "Continue",
        user: Files::one(&[ConfigPath::Variable(
            "CONTINUE_GLOBAL_DIR",
            ".continue",
            "mcpServers/mcp.json",
        )]),
        project: Files::one(&[ConfigPath::Project(".continue/mcpServers/mcp.json")]),
        then: "Continue uses MCP servers in agent mode. Its CLI, cn, reads config.yaml alone: --print yaml shows an \
               entry for that.",
        ..AppConfiguration::USUAL
    },
    // Cursor Docs, "Model Context Protocol (MCP)".
    AppConfiguration {
        name: "cursor",
        title: "Cursor",
        user: Files::one(&[ConfigPath::Home(".cursor/mcp.json")]),
        project: Files::one(&[ConfigPath::Project(".cursor/mcp.json")]),
        kept: &["env", "envFile"],
        ..AppConfiguration::USUAL
    },
    // Junie Help, "Model Context Protocol (MCP)".
    AppConfiguration {
        name: "junie",
        title: "Junie",
        user: Files::one(&[ConfigPath::Home(".junie/mcp/mcp.json")]),
        project: Files::one(&[ConfigPath::Project(".junie/mcp/mcp.json")]),
        ..AppConfiguration::USUAL
    },
    // Kilo CLI 7.8.1, its built-in "Kilo CLI Configuration Reference"; the extension uses the same files since it was
    // rebuilt on the CLI.
    AppConfiguration {
        name: "kilo",
        title: "Kilo Code",
        user: Files::all(
            &[
                ConfigPath::Xdg("kilo/config.json"),
                ConfigPath::Xdg("kilo/kilo.json"),
                ConfigPath::Xdg("kilo/kilo.jsonc"),
                ConfigPath::Xdg("kilo/opencode.json"),
                ConfigPath::Xdg("kilo/opencode.jsonc"),
            ],
            2,
        ),
        project: Files::all(
            &[
                ConfigPath::Project("kilo.json"),
                ConfigPath::Project("kilo.jsonc"),
                ConfigPath::Project(".kilocode/kilo.json"),
                ConfigPath::Project(".kilocode/kilo.jsonc"),
                ConfigPath::Project(".kilo/kilo.json"),
                ConfigPath::Project(".kilo/kilo.jsonc"),
            ],
            5,
        ),
        servers: &["mcp"],
        kept: &["environment", "enabled", "disabled", "timeout", "cwd"],
        shape: Shape::OneList,
        ..AppConfiguration::USUAL
    },
    // Kiro Docs, "MCP: Configuration", for the IDE and the CLI.
    AppConfiguration {
        name: "kiro",
        title: "Kiro",
        user: Files::one(&[ConfigPath::Home(".kiro/settings/mcp.json")]),
        project: Files::one(&[ConfigPath::Project(".kiro/settings/mcp.json")]),
        kept: &["env", "disabled", "autoApprove", "disabledTools", "timeout"],
        then: "Kiro connects to it when the file is saved; Kiro CLI at its next start.",
        ..AppConfiguration::USUAL
    },
    // RooCodeInc/Roo-Code src/services/mcp/McpHub.ts: it refuses an entry with `command` and `url` or `headers`.
    AppConfiguration {
        name: "roo",
        title: "Roo Code",
        user: Files::one(&[ConfigPath::AppData(
            "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        )]),
        project: Files::one(&[ConfigPath::Project(".roo/mcp.json")]),
        kept: &[
            "env",
            "cwd",
            "disabled",
            "timeout",
            "alwaysAllow",
            "disabledTools",
            "watchPaths",
        ],
        ..AppConfiguration::USUAL
    },
    // Visual Studio Code Docs, "MCP configuration reference" and "Profiles".
    AppConfiguration {
        name: "vscode",
        title: "VS Code",
        user: Files::one(&[ConfigPath::AppData("Code/User/mcp.json")]),
        project: Files::one(&[ConfigPath::Project(".vscode/mcp.json")]),
        servers: &["servers"],
        kept: &["env", "envFile", "cwd", "dev", "gallery", "version"],
        shape: Shape::Tagged("type", "stdio"),
        profiles: Some(ConfigPath::AppData("Code/User/profiles")),
        then: "VS Code asks whether you trust the server when it starts it: \"MCP: List Servers\" in its Command Palette.",
        ..AppConfiguration::USUAL
    },
    // Devin Docs, "MCP Configuration": Windsurf is Devin Desktop since June 2026. Windsurf had ~/.codeium.
    AppConfiguration {
        name: "windsurf",
        title: "Devin Desktop (Windsurf)",
        user: Files::installed(&[
            ConfigPath::XdgOrAppData("devin/mcp_config.json"),
            ConfigPath::Home(".codeium/windsurf/mcp_config.json"),
        ]),
        project: Files::one(&[ConfigPath::Project(".devin/mcp_config.json")]),
        kept: &["env", "disabled", "disabledTools", "alwaysAllow"],
        ..AppConfiguration::USUAL
    },
    // zed-industries/zed docs/src/ai/mcp.md, crates/paths/src/paths.rs (on macOS too below ~/.config) and
    // crates/settings_content/src/project.rs. Older versions require the tag, newer ones ignore it.
    AppConfiguration {
        name: "zed",
        title: "Zed",
        user: Files::one(&[ConfigPath::XdgOrAppData("zed/settings.json")]),
        project: Files::one(&[ConfigPath::Project(".zed/settings.json")]),
        servers: &["context_servers"],
        kept: &["env", "enabled", "timeout"],
        shape: Shape::Tagged("source", "custom"),
        ..AppConfiguration::USUAL
    },
];
