//! Where a token may stand, as written: choices, one of which has a name behind it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a place looks like.
pub const TOKEN_PLACE_PATTERN: &str =
    "^(Header|Query|Subprotocol|ApiKeyHeader|FirstMessage|Cookie:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$";

/// A place of a token: `Header`, `Query`, `Subprotocol`, `ApiKeyHeader`, `Cookie:NAME` or `FirstMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct TokenPlace(pub String);

impl JsonSchema for TokenPlace {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TokenPlace".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": TOKEN_PLACE_PATTERN, "minLength": 1, "maxLength": 80 })
    }
}
