"use strict";
document.documentElement.classList.add("js");
charts.ranges(document.getElementById("ranges"));
for (const box of document.querySelectorAll(".chart")) charts.draw(box);
