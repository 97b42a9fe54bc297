//! What Parameter Store answers, as far as it is read. Not `Debug`: it holds values.

use serde::Deserialize;

/// Of `GetParameters` and `GetParametersByPath`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Parameters {
    pub(super) parameters: Option<Vec<Parameter>>,
    pub(super) invalid_parameters: Option<Vec<String>>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Parameter {
    pub(super) name: Option<String>,
    #[serde(rename = "ARN")]
    pub(super) arn: Option<String>,
    /// What the name was asked with: a colon and a version or label.
    pub(super) selector: Option<String>,
    pub(super) value: Option<String>,
    pub(super) version: Option<i64>,
    pub(super) last_modified_date: Option<f64>,
}

/// Of `GetParameterHistory`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct History {
    pub(super) parameters: Option<Vec<Revision>>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Revision {
    pub(super) version: Option<i64>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) description: Option<String>,
    pub(super) last_modified_date: Option<f64>,
}
