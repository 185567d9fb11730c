// SPDX-License-Identifier: Apache-2.0
// Drives a headless Chromium through chromedriver, for tests of the page.
#pragma once

#include <stdbool.h>

typedef struct browser browser;

// NULL: chromium or chromedriver is not installed, or did not start.
browser *browser_open(int w, int h);
void     browser_close(browser *b);
bool     browser_go(browser *b, const char *url);
// Runs a function's body; what it returns, as JSON text without quotes around a string. Borrowed until the next call.
const char *browser_run(browser *b, const char *script);
double   browser_number(browser *b, const char *script);        // NAN: it is none
// Runs until the expression is true, at most ms. False: it never was.
bool     browser_wait(browser *b, const char *expression, int ms);
// Presses and releases a key (a WebDriver key value, UTF-8) n times, down and up for ms each.
bool     browser_press(browser *b, const char *key, int n, int ms);
bool     browser_type(browser *b, const char *selector, const char *text);
bool     browser_screenshot(browser *b, const char *path);
