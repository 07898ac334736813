//! The webhook sink: records the time at which each alert arrives and answers 200.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};

/// A received alert.
#[derive(Serialize)]
struct Receipt {
    component: String,
    event: String,
    /// UTC milliseconds.
    at: u64,
}

#[derive(Deserialize)]
struct Notice {
    event: String,
    alert: Alert,
}

#[derive(Deserialize)]
struct Alert {
    component: String,
}

type Receipts = Mutex<Vec<Receipt>>;

async fn hook(receipts: Data<Receipts>, body: Bytes) -> HttpResponse {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let Ok(notice) = serde_json::from_slice::<Notice>(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    if let Ok(mut receipts) = receipts.lock() {
        receipts.push(Receipt { component: notice.alert.component, event: notice.event, at });
    }
    HttpResponse::Ok().finish()
}

/// The number of alerts received so far.
async fn count(receipts: Data<Receipts>) -> HttpResponse {
    HttpResponse::Ok().json(receipts.lock().map_or(0, |receipts| receipts.len()))
}

/// All alerts received so far, in their order.
async fn report(receipts: Data<Receipts>) -> HttpResponse {
    match receipts.lock() {
        Ok(receipts) => HttpResponse::Ok().json(&*receipts),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let receipts = Data::new(Receipts::default());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(receipts.clone())
            .route("/hook", web::post().to(hook))
            .route("/count", web::get().to(count))
            .route("/report", web::get().to(report))
    })
    .workers(1)
    .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        eprintln!("listening on http://{address}");
    }
    server.run().await
}
