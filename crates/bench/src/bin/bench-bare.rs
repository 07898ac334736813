//! The bare handler: it parses and answers requests as ingest does but stores nothing. It shows how fast an HTTP
//! server of this kind can be on this machine.

use std::collections::BTreeMap;

use actix_web::web::{self, Bytes, Path, Query};
use actix_web::{App, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Deserialize)]
struct CheckIn<'a> {
    app: &'a str,
    component: &'a str,
    notes: Option<&'a str>,
    #[serde(default)]
    figures: BTreeMap<&'a str, f64>,
}

#[derive(Serialize)]
struct Success {
    message: String,
    success: bool,
}

async fn checkin(body: Bytes) -> HttpResponse {
    match serde_json::from_slice::<CheckIn<'_>>(&body) {
        Ok(checkin)
            if !checkin.component.is_empty()
                && checkin.notes.unwrap_or_default().len() < 10_000
                && checkin.figures.values().all(|value| value.is_finite()) =>
        {
            let message = format!("Application checked in: {}", checkin.app);
            HttpResponse::Ok().json(Success { message, success: true })
        }
        _ => HttpResponse::BadRequest().finish(),
    }
}

async fn ping(key: Path<String>) -> HttpResponse {
    match Uuid::try_parse(&key) {
        Ok(_) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK"),
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

#[derive(Deserialize)]
struct Run {
    rid: Option<String>,
}

/// A ping with what stands behind its key: a start, an exit status, a run, output.
async fn ping_more(path: Path<(String, String)>, run: Query<Run>, body: Bytes) -> HttpResponse {
    let (key, what) = path.into_inner();
    let is_known = what == "start" || what == "fail" || what.parse::<u8>().is_ok();
    let run = run.rid.as_deref().map(Uuid::try_parse);
    match Uuid::try_parse(&key) {
        Ok(_)
            if is_known && !matches!(run, Some(Err(_))) && !String::from_utf8_lossy(&body).contains('\0') =>
        {
            HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK")
        }
        _ => HttpResponse::BadRequest().finish(),
    }
}

#[derive(Deserialize)]
struct Gocron {
    cronname: String,
    account: String,
    email: String,
    frequency: u64,
}

async fn gocron(query: Query<Gocron>) -> HttpResponse {
    let Gocron { cronname, account, email, frequency } = query.into_inner();
    if cronname.is_empty() || email.is_empty() || frequency == 0 {
        return HttpResponse::BadRequest().finish();
    }
    let message = format!("Application checked in: {account}");
    HttpResponse::Created().json(Success { message, success: true })
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    // The default number of workers, as in ingest.
    let server = HttpServer::new(|| {
        App::new()
            .route("/", web::get().to(gocron))
            .route("/checkin", web::post().to(checkin))
            .route("/ping/{key}", web::get().to(ping))
            .route("/ping/{key}/{what}", web::get().to(ping_more))
            .route("/ping/{key}/{what}", web::post().to(ping_more))
    })
    .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        eprintln!("listening on http://{address}");
    }
    server.run().await
}
