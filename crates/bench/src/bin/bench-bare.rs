//! The bare handler: it parses and answers requests as ingest does but stores nothing. It shows how fast an HTTP
//! server of this kind can be on this machine.

use actix_web::web::{self, Bytes, Path};
use actix_web::{App, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Deserialize)]
struct CheckIn<'a> {
    app: &'a str,
    component: &'a str,
    notes: Option<&'a str>,
}

#[derive(Serialize)]
struct Success {
    message: String,
    success: bool,
}

async fn checkin(body: Bytes) -> HttpResponse {
    match serde_json::from_slice::<CheckIn<'_>>(&body) {
        Ok(checkin) if !checkin.component.is_empty() && checkin.notes.unwrap_or_default().len() < 10_000 => {
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

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    // The default number of workers, as in ingest.
    let server = HttpServer::new(|| {
        App::new().route("/checkin", web::post().to(checkin)).route("/ping/{key}", web::get().to(ping))
    })
    .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        eprintln!("listening on http://{address}");
    }
    server.run().await
}
