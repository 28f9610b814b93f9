//! The parameters of a query, each taken once; what nobody took is refused.

use http::Uri;

use crate::admin::problem::Problem;

/// What is left of a query.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query apart.
    pub(super) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter.
    ///
    /// # Errors
    /// It stands twice.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut taken = self.0.extract_if(.., |(known, _)| known == name);
        match (taken.next(), taken.next()) {
            (first, None) => Ok(first.map(|(_, value)| value)),
            (_, Some(_)) => Err(Problem::field(name, "the parameter stands twice")),
        }
    }

    /// Everything was taken.
    ///
    /// # Errors
    /// There is a parameter that the route does not know.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        match self.0.pop() {
            Some((name, _)) => Err(Problem::field(name, "this route takes no such parameter")),
            None => Ok(()),
        }
    }
}
