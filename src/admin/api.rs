//! The admin API: accounts, keys and jobs, changed while the gateway runs, and what was used.

mod accounts;
mod audit;
mod fields;
mod jobs;
mod keys;
mod page;
mod query;
mod route;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use serde_json::Value;
use tokio_util::task::TaskTracker;

pub(super) use self::audit::Operator;
use self::audit::{Entry, NoChange};
use self::query::Query;
use self::route::Route;
use super::problem::Problem;
use crate::body::{self, Body, BoxError};
use crate::queue::Backlog;
use crate::spend::Spend;
use crate::token::{ChangeError, Keys};
use crate::types::{AccountId, TokenId};

/// The longest body, in bytes.
const MAX_BODY: u64 = 64 * 1024;

/// How long a body may take, as a whole.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What the routes work on.
#[derive(Debug)]
pub(super) struct Api {
    keys: Arc<Keys>,
    spend: Arc<Spend>,
    backlog: Arc<Backlog>,
    /// Changes go on, and are logged, also when whoever asked for them has left.
    tasks: TaskTracker,
}

/// What an operator asks for, with its body read.
#[derive(Debug)]
struct Call {
    operator: Operator,
    method: Method,
    query: Query,
    body: Bytes,
}

impl Call {
    fn entry(&self, action: &'static str, account: &AccountId) -> Entry {
        Entry {
            operator: self.operator,
            action,
            account: account.clone(),
            key: None,
            token: None,
            job: None,
        }
    }
}

impl Api {
    pub(super) fn new(keys: Arc<Keys>, spend: Arc<Spend>, backlog: Arc<Backlog>, tasks: TaskTracker) -> Self {
        Self {
            keys,
            spend,
            backlog,
            tasks,
        }
    }

    /// Answers a request whose path is `/api/v1/` and `rest`, of an operator who was let in.
    pub(super) async fn answer<B>(
        &self,
        operator: Operator,
        rest: &str,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let answered = self.answered(operator, rest, request).await;
        let mut response = answered.unwrap_or_else(Problem::into_response);
        // Some answers hold a secret.
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn answered<B>(
        &self,
        operator: Operator,
        rest: &str,
        request: Request<B>,
    ) -> Result<Response<Body>, Problem>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let route = Route::read(rest)?;
        route.check(request.method())?;
        let (head, mut body) = request.into_parts();
        let takes_body = matches!(head.method, Method::POST | Method::PATCH);
        let bytes = if takes_body {
            check_form(&head.headers)?;
            read(&mut body).await?
        } else {
            Bytes::new()
        };
        let call = Call {
            operator,
            query: Query::of(&head.uri),
            method: head.method,
            body: bytes,
        };
        self.routed(route, call).await
    }

    async fn routed(&self, route: Route, mut call: Call) -> Result<Response<Body>, Problem> {
        // Only lists, reports and tokens take parameters.
        let (reads, queries) = (
            matches!(call.method, Method::GET | Method::HEAD),
            matches!(
                route,
                Route::Accounts | Route::Keys(_) | Route::Usage | Route::Jobs
            ),
        );
        if !(reads && queries || matches!(route, Route::Token(_))) {
            std::mem::take(&mut call.query).finish()?;
        }
        match route {
            Route::Accounts if reads => self.accounts(call),
            Route::Accounts => self.add_account(call).await,
            Route::Account(id) if reads => self.account(&id),
            Route::Account(id) if call.method == Method::PATCH => self.change_account(call, id).await,
            Route::Account(id) => self.remove_account(call, id).await,
            Route::Keys(account) if reads => self.keys(call, &account),
            Route::Keys(account) => self.make_key(call, account).await,
            Route::Key(account, name) => self.remove_key(call, account, name).await,
            Route::Rotate(account, name) => self.rotate_key(call, account, name).await,
            Route::Disable(account, name) => self.set_disabled(call, account, name, true).await,
            Route::Enable(account, name) => self.set_disabled(call, account, name, false).await,
            Route::Token(token) => self.revoke(call, token).await,
            Route::Usage => self.usage(call).await,
            Route::Jobs => self.jobs(call).await,
            Route::Job(id) => self.job(id).await,
            Route::Redeliver(id) => self.redeliver(call, id).await,
            Route::Cancel(id) => self.cancel(call, id).await,
            Route::RotateWebhookSecret(account) => self.rotate_webhook_secret(call, account).await,
        }
    }

    async fn revoke(&self, mut call: Call, token: TokenId) -> Result<Response<Body>, Problem> {
        let account = call.query.take("account")?;
        let account = account.ok_or_else(|| Problem::field("account", "is missing"))?;
        let account =
            AccountId::parse(&account).map_err(|error| Problem::field("account", error.to_string()))?;
        std::mem::take(&mut call.query).finish()?;
        // A slip in the id would else revoke nothing, and say that it did.
        self.entry_of(&account)?;
        let entry = Entry {
            token: Some(token.clone()),
            ..call.entry("token.revoke", &account)
        };
        let keys = Arc::clone(&self.keys);
        // When the token ends is not known here, so the revocation is kept for good.
        self.change(entry, async move { keys.revoke(account, token, None).await })
            .await?;
        Ok(no_content())
    }

    /// Makes a change and logs it, also when the future is dropped.
    async fn change<T, E>(
        &self,
        entry: Entry,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: NoChange + Into<Problem> + Send + 'static,
    {
        let changing = self.tasks.spawn(async move {
            let outcome = work.await;
            entry.write(&outcome);
            outcome
        });
        let outcome = changing.await.map_err(|_| ChangeError::Broken)?;
        outcome.map_err(Into::into)
    }
}

/// A body, where there is one, is JSON as it is.
fn check_form(headers: &HeaderMap) -> Result<(), Problem> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Problem::unsupported_encoding());
    }
    let Some(shown) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = shown.to_str().unwrap_or_default().split(';').next();
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type())
    }
}

async fn read<B>(body: &mut B) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let reading = tokio::time::timeout(BODY_TIME, body::read(body, MAX_BODY, BODY_TIME));
    Ok(reading.await.map_err(|_| Problem::body_timeout())??)
}

fn ok(value: &Value) -> Response<Body> {
    body::json(StatusCode::OK, value)
}

fn created(value: &Value) -> Response<Body> {
    body::json(StatusCode::CREATED, value)
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
