//! Values that a flag chooses from, as clap lists them: one for each variant of a configuration type.

use clap::ValueEnum;

use mcp_bridge_auth::{Dpop, IssuerCheck, Store};
use mcp_bridge_core::bridge::ListPages;
use mcp_bridge_core::endpoint::{ParamHeaders, Protocol, TransportChoice};

/// Defines the values of a flag, and the variant of the configuration type that each stands for.
macro_rules! choices {
    ($(#[$attribute:meta])* $flag:ident is $setting:ident { $($(#[$doc:meta])* $value:ident,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum $flag {
            $($(#[$doc])* $value,)+
        }

        impl From<$flag> for $setting {
            fn from(flag: $flag) -> Self {
                match flag {
                    $($flag::$value => Self::$value,)+
                }
            }
        }
    };
}

choices!(#[derive(Default)] TransportFlag is TransportChoice {
    /// Streamable HTTP; HTTP+SSE if the server refuses that as one of 2024-11-05 does.
    #[default]
    HttpFirst,
    /// HTTP+SSE; streamable HTTP if there is no such stream.
    SseFirst,
    /// Streamable HTTP.
    HttpOnly,
    /// HTTP+SSE (MCP 2024-11-05).
    SseOnly,
});

choices!(#[derive(Default)] ProtocolFlag is Protocol {
    /// The app's own; the other one, by translation, where the server refuses that.
    #[default]
    Auto,
    /// Up to 2025-11-25 (`initialize`).
    Legacy,
    /// From 2026-07-28 on.
    Modern,
    /// From 2026-07-28 on if the server speaks it, even to an app that does not.
    PreferModern,
});

choices!(#[derive(Default)] ParamHeadersFlag is ParamHeaders {
    /// `Mcp-Param-*` where the tool's schema asks for it; `Mcp-Name` for legacy servers too that were seen
    /// to read such headers.
    #[default]
    Auto,
    /// The same, and `Mcp-Name` for every legacy server.
    Always,
    /// None of these headers, except for those that the modern era demands.
    Off,
});

choices!(#[derive(Default)] ListPagesFlag is ListPages {
    /// The app gets all pages as one list.
    #[default]
    Merge,
    /// The app gets the page that it asks for.
    Pass,
});

choices!(PlaceFlag is Store {
    /// In the keychain of the operating system; the rest is in a file.
    Keychain,
    /// In a file that is readable by the user alone.
    File,
    /// In this process, until it ends.
    Memory,
});

choices!(#[derive(Default)] DpopFlag is Dpop {
    /// Never
    Off,
    /// If the server asks for it and its authorization server offers it
    #[default]
    Auto,
    /// Always: other tokens are refused
    Required,
});

choices!(#[derive(Default)] IssuerCheckFlag is IssuerCheck {
    /// Character by character
    #[default]
    Strict,
    /// A subdomain may speak for its parent, and the other way round
    SameSite,
    /// Not at all
    Off,
});
