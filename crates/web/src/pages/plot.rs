//! How long runs took, as a drawing.
//!
//! It is drawn in colours that nobody chose: the style sheet finds elements by them and gives them those of the page, light or dark.

use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::{Time, duration};
use plotters::prelude::*;

const TEXT: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(1, 2, 4);
const GOOD: RGBColor = RGBColor(1, 2, 5);
const BAD: RGBColor = RGBColor(1, 2, 6);
const LIMIT: RGBColor = RGBColor(1, 2, 7);
/// Of all texts in it.
const FONT_SIZE: u32 = 13;

/// A run that has ended.
pub struct Ended {
    pub at: Time,
    pub took: TimeDelta,
    pub well: bool,
}

/// A drawing for a size of window.
#[derive(Clone, Copy)]
pub struct Size {
    pub class: &'static str,
    pub wide: u32,
    pub high: u32,
    /// Times written below.
    pub times: usize,
}

/// For desks and for telephones.
pub const SIZES: [Size; 2] = [
    Size { class: "wide", wide: 1000, high: 220, times: 8 },
    Size { class: "narrow", wide: 360, high: 220, times: 3 },
];

/// The unit in which spans up to `longest` are read best: its name and its length.
fn unit(longest: TimeDelta) -> (&'static str, f64) {
    match longest {
        _ if longest < TimeDelta::seconds(2) => ("milliseconds", 1.0),
        _ if longest < TimeDelta::minutes(2) => ("seconds", 1e3),
        _ if longest < TimeDelta::hours(2) => ("minutes", 60e3),
        _ if longest < TimeDelta::days(2) => ("hours", 3600e3),
        _ => ("days", 86_400e3),
    }
}

/// What the drawing shows, in words.
pub fn words(runs: &[Ended], max_run: Option<TimeDelta>) -> String {
    let spans = || runs.iter().map(|run| run.took);
    let (Some(least), Some(most)) = (spans().min(), spans().max()) else { return String::new() };
    let mut text = format!(
        "The latest {}, oldest first: from {} to {}",
        duration::counted(runs.len() as i64, "timed run"),
        duration::words(least),
        duration::words(most)
    );
    let failed = runs.iter().filter(|run| !run.well).count();
    if failed > 0 {
        text.push_str(&format!(", {failed} failed"));
    }
    if let Some(limit) = max_run {
        text.push_str(&format!("; the line is the limit of {}", duration::words(limit)));
    }
    text + "."
}

/// The runs, oldest first, as an SVG element; none where there are none.
///
/// # Errors
/// Of the library, in words.
pub fn draw(
    runs: &[Ended],
    max_run: Option<TimeDelta>,
    zone: Tz,
    size: Size,
) -> Result<Option<String>, String> {
    let Some(longest) = runs.iter().map(|run| run.took).chain(max_run).max() else { return Ok(None) };
    if runs.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    draw_on(&mut svg, runs, max_run, longest, zone, size).map_err(|error| error.to_string())?;
    let head = format!(
        "<svg class=\"plot {}\" role=\"img\" aria-label=\"{}\" ",
        size.class,
        words(runs, max_run).replace('"', "")
    );
    Ok(Some(svg.replacen("<svg ", &head, 1)))
}

fn draw_on(
    svg: &mut String,
    runs: &[Ended],
    max_run: Option<TimeDelta>,
    longest: TimeDelta,
    zone: Tz,
    size: Size,
) -> Result<(), Box<dyn std::error::Error>> {
    let (unit, unit_ms) = unit(longest);
    let in_unit = |span: TimeDelta| span.num_milliseconds() as f64 / unit_ms;
    let top = (in_unit(longest) * 1.12).max(1.0);
    let right = runs.len() as f64 - 0.5;
    let form =
        if runs[runs.len() - 1].at - runs[0].at > TimeDelta::days(1) { "%-d %b %H:%M" } else { "%H:%M:%S" };
    let time = |place: &f64| {
        let run = runs.get(place.round() as usize).filter(|_| place.fract() == 0.0 && *place >= 0.0);
        run.map(|run| run.at.with_timezone(&zone).format(form).to_string()).unwrap_or_default()
    };
    let amount = |value: &f64| if top < 5.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    let text = || ("sans-serif", FONT_SIZE).into_font().color(&TEXT);

    let area = SVGBackend::with_string(svg, (size.wide, size.high)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(-0.5..right, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text())
        .axis_desc_style(text())
        .x_desc(format!("when it ended ({zone})"))
        .y_desc(unit)
        .x_labels(size.times)
        .y_labels(5)
        .x_label_formatter(&time)
        .y_label_formatter(&amount)
        .draw()?;
    chart.draw_series(runs.iter().enumerate().map(|(place, run)| {
        let (place, high) = (place as f64, in_unit(run.took).max(top / 100.0));
        let color = if run.well { GOOD } else { BAD };
        Rectangle::new([(place - 0.4, 0.0), (place + 0.4, high)], color.filled())
    }))?;
    if let Some(limit) = max_run.map(in_unit) {
        chart.draw_series([PathElement::new([(-0.5, limit), (right, limit)], LIMIT.stroke_width(2))])?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: i64, each_ms: i64) -> Vec<Ended> {
        let run = |n| Ended {
            at: Time::UNIX_EPOCH + TimeDelta::hours(n),
            took: TimeDelta::milliseconds(each_ms * (n + 1)),
            well: n % 7 != 3,
        };
        (0..count).map(run).collect()
    }

    #[test]
    fn a_drawing_has_its_limit_and_its_units_and_nothing_inline() {
        for (each_ms, unit) in [
            (0, "milliseconds"),
            (900, "seconds"),
            (60_000, "minutes"),
            (3_600_000, "hours"),
            (90_000_000, "days"),
        ] {
            for size in SIZES {
                for limit in [None, Some(TimeDelta::milliseconds(each_ms * 12 + 1))] {
                    let svg =
                        draw(&runs(10, each_ms), limit, chrono_tz::Europe::Berlin, size).unwrap().unwrap();
                    assert!(!svg.contains("style="), "{svg}");
                    assert!(svg.contains(unit) && svg.contains("when it ended (Europe/Berlin)"), "{svg}");
                    assert!(svg.contains("#010205") && svg.contains("#010206"), "{svg}");
                    assert_eq!(svg.contains("#010207"), limit.is_some(), "{svg}");
                    assert!(
                        svg.starts_with("<svg class=\"plot ") && svg.contains("aria-label=\"The latest 10 ")
                    );
                }
            }
        }
    }

    #[test]
    fn one_run_is_drawn_and_none_is_not() {
        assert!(draw(&runs(1, 5), None, chrono_tz::UTC, SIZES[0]).unwrap().is_some());
        assert_eq!(draw(&[], Some(TimeDelta::hours(1)), chrono_tz::UTC, SIZES[0]).unwrap(), None);
    }

    #[test]
    fn it_is_said_in_words() {
        let limit = Some(TimeDelta::minutes(1));
        assert_eq!(
            words(&runs(5, 1000), limit),
            "The latest 5 timed runs, oldest first: from 1 second to 5 seconds, 1 failed; the line is the limit of 1 minute."
        );
        assert_eq!(words(&[], limit), "");
    }
}
