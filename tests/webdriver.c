// SPDX-License-Identifier: Apache-2.0
// WebDriver over HTTP (w3.org/TR/webdriver): JSON requests to a chromedriver of our own.
#include "tests/webdriver.h"

#include <cjson/cJSON.h>
#include <libsoup/soup.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

struct browser {
    SoupSession *http;
    pid_t        driver;
    int          port;
    char         session[128], folder[64];
    char        *text;
};

// The reply's "value"; NULL: it failed. `body` is taken.
static cJSON *ask(browser *b, const char *method, const char *path, cJSON *body)
{
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", b->port, path);
    SoupMessage *msg = soup_message_new(method, url);
    char *text = body ? cJSON_PrintUnformatted(body) : NULL;
    cJSON_Delete(body);
    if (text) {
        GBytes *bytes = g_bytes_new(text, strlen(text));
        soup_message_set_request_body_from_bytes(msg, "application/json", bytes);
        g_bytes_unref(bytes);
        free(text);
    }
    GBytes *reply = soup_session_send_and_read(b->http, msg, NULL, NULL);
    const bool good = reply && soup_message_get_status(msg) == 200;
    cJSON *root = reply ? cJSON_ParseWithLength(g_bytes_get_data(reply, NULL), g_bytes_get_size(reply)) : NULL;
    cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(root, "value");
    if (!good && value) {
        const cJSON *line = cJSON_GetObjectItemCaseSensitive(value, "message");
        fprintf(stderr, "webdriver: %.300s\n", cJSON_IsString(line) ? line->valuestring : "failed");
        cJSON_Delete(value);
        value = NULL;
    }
    cJSON_Delete(root);
    if (reply)
        g_bytes_unref(reply);
    g_object_unref(msg);
    return value;
}

static cJSON *ask_session(browser *b, const char *method, const char *what, cJSON *body)
{
    char path[256];
    snprintf(path, sizeof(path), "/session/%s%s", b->session, what);
    return ask(b, method, path, body);
}

static bool done(cJSON *value)
{
    cJSON_Delete(value);
    return value != NULL;
}

static void start_driver(browser *b)
{
    char port[32];
    snprintf(port, sizeof(port), "--port=%d", b->port);
    b->driver = fork();
    if (b->driver)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
        _exit(126);
    execlp("chromedriver", "chromedriver", port, "--log-level=OFF", (char *)NULL);
    _exit(127);
}

// On loopback only and as root, where a sandbox is not to be had.
static cJSON *capabilities(const browser *b, int w, int h)
{
    char size[64], profile[96];
    snprintf(size, sizeof(size), "--window-size=%d,%d", w, h);
    snprintf(profile, sizeof(profile), "--user-data-dir=%s", b->folder);
    const char *args[] = { "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                           "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
                           "--disable-features=WebRtcHideLocalIpsWithMdns", "--hide-scrollbars", size, profile };
    cJSON *root = cJSON_CreateObject(), *all = cJSON_AddObjectToObject(root, "capabilities");
    cJSON *match = cJSON_AddObjectToObject(all, "alwaysMatch");
    cJSON *chrome = cJSON_AddObjectToObject(match, "goog:chromeOptions");
    cJSON_AddItemToObject(chrome, "args", cJSON_CreateStringArray(args, sizeof(args) / sizeof(args[0])));
    return root;
}

browser *browser_open(int w, int h)
{
    if (system("command -v chromium > /dev/null && command -v chromedriver > /dev/null") != 0)
        return NULL;
    browser *b = g_new0(browser, 1);
    strcpy(b->folder, "/tmp/zt-browser-XXXXXX");
    b->http = soup_session_new_with_options("timeout", 120, "proxy-resolver", NULL, NULL);
    b->port = 20000 + getpid() % 20000;
    if (!mkdtemp(b->folder))
        return NULL;
    start_driver(b);
    cJSON *status = NULL;
    for (int i = 0; i < 200 && !status; i++) {
        zt_sleep_until(zt_now() + 50 * ZT_MS);
        status = ask(b, "GET", "/status", NULL);
    }
    cJSON_Delete(status);
    cJSON *value = ask(b, "POST", "/session", capabilities(b, w, h));
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(value, "sessionId");
    if (cJSON_IsString(id))
        snprintf(b->session, sizeof(b->session), "%s", id->valuestring);
    cJSON_Delete(value);
    if (!b->session[0]) {
        browser_close(b);
        return NULL;
    }
    return b;
}

void browser_close(browser *b)
{
    if (!b)
        return;
    if (b->session[0])
        done(ask_session(b, "DELETE", "", NULL));
    kill(b->driver, SIGTERM);
    waitpid(b->driver, NULL, 0);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", b->folder);
    if (system(command) != 0)
        fprintf(stderr, "webdriver: %s stays\n", b->folder);
    g_object_unref(b->http);
    free(b->text);
    g_free(b);
}

bool browser_go(browser *b, const char *url)
{
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "url", url);
    return done(ask_session(b, "POST", "/url", body));
}

const char *browser_run(browser *b, const char *script)
{
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "script", script);
    cJSON_AddArrayToObject(body, "args");
    cJSON *value = ask_session(b, "POST", "/execute/sync", body);
    free(b->text);
    b->text = cJSON_IsString(value) ? strdup(value->valuestring) : value ? cJSON_PrintUnformatted(value) : strdup("");
    cJSON_Delete(value);
    return b->text;
}

double browser_number(browser *b, const char *script)
{
    const char *text = browser_run(b, script);
    char *end;
    const double v = strtod(text, &end);
    return end == text ? NAN : v;
}

bool browser_wait(browser *b, const char *expression, int ms)
{
    char script[1024];
    snprintf(script, sizeof(script), "return !!(%s)", expression);
    for (const int64_t until = zt_now() + ms * ZT_MS; zt_now() < until; zt_sleep_until(zt_now() + 20 * ZT_MS))
        if (!strcmp(browser_run(b, script), "true"))
            return true;
    return false;
}

static void add_action(cJSON *list, const char *type, const char *key, int ms)
{
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "type", type);
    if (key)
        cJSON_AddStringToObject(one, "value", key);
    else
        cJSON_AddNumberToObject(one, "duration", ms);
    cJSON_AddItemToArray(list, one);
}

bool browser_press(browser *b, const char *key, int n, int ms)
{
    cJSON *body = cJSON_CreateObject(), *all = cJSON_AddArrayToObject(body, "actions"), *keys = cJSON_CreateObject();
    cJSON_AddItemToArray(all, keys);
    cJSON_AddStringToObject(keys, "type", "key");
    cJSON_AddStringToObject(keys, "id", "keyboard");
    cJSON *list = cJSON_AddArrayToObject(keys, "actions");
    for (int i = 0; i < n; i++) {
        add_action(list, "keyDown", key, 0);
        add_action(list, "pause", NULL, ms + 7 * (i % 6));      // not in step with the frames
        add_action(list, "keyUp", key, 0);
        add_action(list, "pause", NULL, ms);
    }
    return done(ask_session(b, "POST", "/actions", body));
}

bool browser_type(browser *b, const char *selector, const char *text)
{
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "using", "css selector");
    cJSON_AddStringToObject(body, "value", selector);
    cJSON *value = ask_session(b, "POST", "/element", body);
    char path[256] = "";
    if (cJSON_IsObject(value) && value->child && cJSON_IsString(value->child))
        snprintf(path, sizeof(path), "/element/%s/value", value->child->valuestring);
    cJSON_Delete(value);
    body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "text", text);
    return done(ask_session(b, "POST", path, body));
}

bool browser_screenshot(browser *b, const char *path)
{
    cJSON *value = ask_session(b, "GET", "/screenshot", NULL);
    gsize bytes = 0;
    guchar *png = cJSON_IsString(value) ? g_base64_decode(value->valuestring, &bytes) : NULL;
    const bool good = png && g_file_set_contents(path, (const char *)png, (gssize)bytes, NULL);
    g_free(png);
    cJSON_Delete(value);
    return good;
}
