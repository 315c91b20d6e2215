"use strict";
const show = (list) => { for (const e of list) document.getElementById("events").append(JSON.stringify(e) + "\n"); };
const data = document.getElementById("data");
if (data) show(JSON.parse(data.textContent).events);
else new EventSource("events").addEventListener("message", (m) => show(JSON.parse(m.data).events));
