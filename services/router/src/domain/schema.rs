//! Settings against an adapter's JSON Schema.

use jsonschema::{Draft, Validator};
use posmesh_kit::Violation;
use serde_json::Value;

/// Enough to repair settings, too few to make the answer a burden.
const MOST_PROBLEMS: usize = 20;

/// A schema ready for use. Only what it holds itself counts: a reference to elsewhere is an error, never a download.
pub(super) fn compile(schema: &str) -> Result<Validator, String> {
    let schema: Value = serde_json::from_str(schema).map_err(|e| format!("is no JSON: {e}"))?;
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    options.build(&schema).map_err(|e| format!("is no JSON Schema (2020-12): {e}"))
}

/// Everything that is wrong with a connection's settings.
pub(crate) fn check_settings(schema: &str, settings_json: &str) -> Result<(), Vec<Violation>> {
    let wrong = |path: &str, message: String| {
        Violation::new("SETTINGS_INVALID", format!("connection.settings_json{path}"), message)
    };
    let validator =
        compile(schema).map_err(|e| vec![wrong("", format!("cannot be checked: the adapter's schema {e}"))])?;
    let settings: Value =
        serde_json::from_str(settings_json).map_err(|e| vec![wrong("", format!("is no JSON: {e}"))])?;
    if !settings.is_object() {
        return Err(vec![wrong("", "must be a JSON object".to_owned())]);
    }
    let problems: Vec<Violation> = validator
        .iter_errors(&settings)
        .take(MOST_PROBLEMS)
        // The value is left out: settings may hold what is better not repeated in logs.
        .map(|e| wrong(e.instance_path().as_str(), e.masked().to_string()))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "url": {"type": "string", "minLength": 1},
            "printers": {"type": "array", "items": {"type": "object", "required": ["id"]}}
        },
        "required": ["url"],
        "additionalProperties": false
    }"#;

    fn fields(settings: &str) -> Vec<String> {
        check_settings(SCHEMA, settings).err().unwrap_or_default().into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn each_problem_of_the_settings_is_told_with_its_path() {
        assert_eq!(check_settings(SCHEMA, r#"{"url":"http://pos","printers":[{"id":1}]}"#), Ok(()));
        assert_eq!(
            fields(r#"{"url":"","printers":[{"id":1},{}]}"#),
            ["connection.settings_json/printers/1", "connection.settings_json/url"].map(str::to_owned)
        );
        for bad in ["", "[]", "7", "{}", r#"{"url":"a","ulr":"b"}"#] {
            assert_eq!(fields(bad), ["connection.settings_json"], "{bad}");
        }
    }

    #[test]
    fn a_wrong_value_is_not_repeated() {
        let problems = check_settings(SCHEMA, r#"{"url":["s3cret"]}"#).unwrap_err();
        assert!(!problems[0].message.contains("s3cret"), "{}", problems[0].message);
    }

    #[test]
    fn a_schema_that_refers_to_elsewhere_is_refused_not_fetched() {
        for schema in ["", "{", r#"{"type":"objekt"}"#, r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#] {
            assert!(compile(schema).is_err(), "{schema}");
        }
        assert!(compile("{}").is_ok());
    }
}
