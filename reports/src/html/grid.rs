//! The matrix: rows against fault families, or, where one configuration stands alone, families
//! against it.

use super::markup::Html;
use super::{Page, Row, shade};
use crate::text::count;
use crate::{cell, matrix};
use everyack_scenarios::report::Cell;

/// Families that stand side by side where most cells of the matrix would be empty.
const SIDE_BY_SIDE: usize = 9;

/// The section with the matrix and its legend.
pub(super) fn render(page: &Page<'_>, html: &mut Html) {
    let families = cell::families(&page.report.cells);
    html.raw("<section aria-labelledby=\"matrix\"><h2 id=\"matrix\">The matrix</h2>");
    // A matrix of many columns and hardly a row reads better on its side.
    if page.rows.len() * 4 <= families.len() {
        open("matrix side", html);
        html.raw("One line a fault family. Each cell: verdict, runs with loss / exposed runs, and the mechanisms that lost; it leads to its evidence.</caption>");
        sideways(page, &families, html);
        html.raw("</table></div>");
    } else {
        for (at, block) in blocks(page, &families).into_iter().enumerate() {
            open("matrix", html);
            html.raw(match at {
                0 => "One line a configuration, one column a fault family. Each cell: verdict, runs with loss / exposed runs, and the mechanisms that lost; it leads to its evidence. Prices are modelled: see their legend.</caption>",
                _ => "Further fault families, and the configurations that run under them.</caption>",
            });
            upright(page, block, html);
            html.raw("</table></div>");
        }
    }
    legend(page, html);
    html.raw("</section>");
}

fn open(class: &'static str, html: &mut Html) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Loss matrix\"><table class=\"")
        .raw(class)
        .raw("\" role=\"table\"><caption>");
}

/// A matrix that is mostly filled stays whole, however wide; of one that is mostly empty, some
/// families at a time, as evenly as may be.
fn blocks<'a>(page: &Page<'_>, families: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let sparse = page.report.cells.len() * 2 < page.rows.len() * families.len();
    let blocks = match sparse {
        true => families.len().div_ceil(SIDE_BY_SIDE),
        false => 1,
    };
    let each = families.len().div_ceil(blocks.max(1)).max(1);
    families.chunks(each).collect()
}

fn upright(page: &Page<'_>, families: &[&str], html: &mut Html) {
    html.raw("<thead role=\"rowgroup\"><tr role=\"row\"><th scope=\"col\" role=\"columnheader\">configuration</th>");
    for family in families {
        header(family, html);
    }
    html.raw("<th scope=\"col\" role=\"columnheader\">ack p50 / p99, ms <em>modelled</em></th><th scope=\"col\" role=\"columnheader\">messages/s <em>modelled</em></th><th scope=\"col\" role=\"columnheader\">longest outage, ms <em>modelled</em></th></tr></thead><tbody role=\"rowgroup\">");
    for (at, row) in page.rows.iter().enumerate() {
        let here = |cell: &&Cell| families.contains(&cell.faults.as_str());
        if !row.cells.iter().any(here) {
            continue;
        }
        html.raw("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\"><a href=\"#r")
            .text(&at.to_string())
            .raw("\">")
            .breakable(&row.label)
            .raw("</a></th>");
        for family in families {
            let found = row.cells.iter().find(|cell| cell.faults == *family);
            entry(found.copied(), family, html);
        }
        price(row, html);
        html.raw("</tr>");
    }
    html.raw("</tbody>");
}

fn sideways(page: &Page<'_>, families: &[&str], html: &mut Html) {
    html.raw("<thead role=\"rowgroup\"><tr role=\"row\"><th scope=\"col\" role=\"columnheader\">faults</th>");
    for row in &page.rows {
        header(&row.label, html);
    }
    html.raw("</tr></thead><tbody role=\"rowgroup\">");
    for family in families {
        html.raw("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">")
            .breakable(family)
            .raw("</th>");
        for row in &page.rows {
            let found = row.cells.iter().find(|cell| cell.faults == *family);
            entry(found.copied(), &row.label, html);
        }
        html.raw("</tr>");
    }
    html.raw("</tbody>");
}

fn header(name: &str, html: &mut Html) {
    html.raw("<th scope=\"col\" role=\"columnheader\">")
        .breakable(name)
        .raw("</th>");
}

/// A cell, with the name of its column for screens that show one cell a line.
fn entry(cell: Option<&Cell>, column: &str, html: &mut Html) {
    let Some(cell) = cell else {
        html.raw("<td class=\"x\" role=\"cell\"></td>");
        return;
    };
    let (lines, _) = matrix::entry(cell);
    html.raw("<td role=\"cell\" class=\"")
        .raw(shade(cell))
        .raw("\" data-f=\"")
        .text(column)
        .raw("\"><a href=\"#c")
        .text(&cell.index.to_string())
        .raw("\">");
    for (at, line) in lines.iter().enumerate() {
        match (at, line.rsplit_once(' ')) {
            (0, Some((word, ratio))) if ratio.contains('/') => {
                html.raw("<b>").text(word).raw("</b> ").text(ratio);
            }
            (0, _) => {
                html.raw("<b>").text(line).raw("</b>");
            }
            _ => {
                html.raw("<span>").text(line).raw("</span>");
            }
        }
    }
    html.raw("</a></td>");
}

/// What the row's safety costs: latency and throughput without a fault, and the longest outage in any
/// family.
fn price(row: &Row<'_>, html: &mut Html) {
    let price = row.cells.iter().find_map(|cell| cell.price);
    let outage = row.cells.iter().map(|cell| cell.unavailable_ms.max).max();
    html.raw(
        "<td class=\"price num\" role=\"cell\" data-f=\"ack p50 / p99, ms (modelled)\"><span>",
    );
    if let Some(price) = price {
        html.text(&milliseconds(price.ack_ms.p50))
            .raw(" / ")
            .text(&milliseconds(price.ack_ms.p99));
    }
    html.raw("</span></td><td class=\"price num\" role=\"cell\" data-f=\"messages per second (modelled)\"><span>");
    if let Some(per_s) = price.and_then(|price| price.messages_per_s) {
        html.text(&count(per_s as u64));
    }
    html.raw("</span></td><td class=\"price num\" role=\"cell\" data-f=\"longest outage, ms (modelled)\"><span>")
        .text(&count(outage.unwrap_or(0)))
        .raw("</span></td>");
}

/// Milliseconds to three digits: `0.42`, `5.1`, `1,204`.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => count(ms.round() as u64),
    }
}

fn legend(page: &Page<'_>, html: &mut Html) {
    html.raw("<dl class=\"legend\">");
    for (word, means) in matrix::legend(&page.report.cells) {
        html.raw("<dt>")
            .text(word)
            .raw("</dt><dd>")
            .text(means)
            .raw("</dd>");
    }
    html.raw("<dt>ack p50 / p99</dt><dd>latency of an acknowledgement in the row's calmest family; <em>modelled</em></dd><dt>longest outage</dt><dd>the longest stretch without a successful produce in any run of the row; <em>modelled</em></dd></dl>");
}
