//! stub
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
/// stub
pub struct GeneratorSpec {}
/// stub
pub const MESSAGE_PREFIX: &str = "generator: ";
#[expect(missing_docs)]
impl GeneratorSpec {
    pub fn contradicts(
        &self,
        _f: Option<&crate::format::Pattern>,
        _t: Option<crate::format::ValueType>,
    ) -> Option<String> {
        None
    }
    pub fn entropy_bits(&self) -> f64 {
        0.0
    }
    pub fn max_chars(&self) -> Option<usize> {
        None
    }
    pub fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
    pub fn generate_matching(
        &self,
        _p: Option<&crate::format::Pattern>,
        _t: Option<crate::format::ValueType>,
        _r: &dyn crate::port::Rng,
        _n: crate::time::Timestamp,
    ) -> Result<crate::secret::SecretValue, String> {
        Err(String::new())
    }
}
impl Default for GeneratorSpec {
    fn default() -> Self {
        Self {}
    }
}
