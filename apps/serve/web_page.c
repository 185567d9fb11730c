// SPDX-License-Identifier: Apache-2.0
// The viewer page: the files of apps/web/, linked into the program as they are.
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"

#define ASSET(name) extern const char _binary_##name##_start[], _binary_##name##_end[]
ASSET(index_html);
ASSET(style_css);
ASSET(app_js);
ASSET(page_js);
ASSET(plots_js);
ASSET(steer_js);
ASSET(icon_svg);
#undef ASSET

void zt_web_get_page(const zt_request *r)
{
    static const struct {
        const char *path, *type, *start, *end;
    } files[] = {
        { "", "text/html; charset=utf-8", _binary_index_html_start, _binary_index_html_end },
        { "style.css", "text/css; charset=utf-8", _binary_style_css_start, _binary_style_css_end },
        { "app.js", "text/javascript; charset=utf-8", _binary_app_js_start, _binary_app_js_end },
        { "page.js", "text/javascript; charset=utf-8", _binary_page_js_start, _binary_page_js_end },
        { "plots.js", "text/javascript; charset=utf-8", _binary_plots_js_start, _binary_plots_js_end },
        { "steer.js", "text/javascript; charset=utf-8", _binary_steer_js_start, _binary_steer_js_end },
        { "icon.svg", "image/svg+xml", _binary_icon_svg_start, _binary_icon_svg_end },
    };
    for (size_t i = 0; i < ZT_LEN(files); i++)
        if (!strcmp(files[i].path, r->id))
            zt_web_answer(r->msg, 200, files[i].type, files[i].start, (size_t)(files[i].end - files[i].start));
}
