//! placeholder
/// stub
pub fn placeholder_reason(_n: &str, _v: &str, _p: Option<&str>) -> Option<&'static str> { None }
